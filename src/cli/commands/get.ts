import { withoutNative } from '../../device/native.ts'
import { gatheringSink } from '../../transfer/bytesink.ts'
import { get, getTar, getTarFile } from '../../transfer/get.ts'
import { getPlaces, tarPlaces } from '../../transfer/places.ts'
import type { TransferResult } from '../../transfer/put.ts'
import type { Volume } from '../../volume.ts'
import { hostPath, type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK, OutputClosed, PARTLY, type Session, UsageError } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Output } from '../output.ts'
import { drive } from '../progress.ts'
import { holdSignals } from '../signals.ts'
import { compressionOf, isArchive, placed, problemReporter, reportTransfer } from '../transfer.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly owner?: boolean
  readonly xattrs?: boolean
  readonly devices?: boolean
  readonly tar?: boolean
  readonly gzip?: boolean
}

const command: Command<Arguments> = {
  command: 'get <image> <paths..>',
  describe: 'copy files and trees out of the image, with all attributes',
  examples: [
    ['$0 get disk.img /etc/passwd .', ''],
    ['$0 get disk.img / rootfs', 'everything, into rootfs/ (created if missing)'],
    ['$0 get disk.img /srv/. backup', 'the contents of /srv, into backup/'],
    ['$0 get disk.img / rootfs.tar.gz', 'an archive with all metadata, as any user; - for standard output'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'files in the image, then the destination on the host',
      })
      .option('owner', { type: 'boolean', describe: 'copy owners and set-ID bits (default: for root)' })
      .option('xattrs', {
        type: 'boolean',
        default: true,
        describe: 'extended attributes and access control lists; --no-xattrs: none',
      })
      .option('tar', {
        type: 'boolean',
        describe: 'write a tar archive (so does a name that ends in .tar, .tar.gz or .tgz, or is -)',
      })
      .option('gzip', { alias: 'z', type: 'boolean', describe: 'write a compressed tar archive' })
      .option('devices', {
        type: 'boolean',
        describe: 'copy device nodes too (an archive always has them; --no-devices: omit them silently)',
      }) as never,
  handler: async (args, session) => {
    const sources = args.paths.slice(0, -1)
    const target = args.paths.at(-1)
    if (target === undefined || sources.length === 0)
      throw new UsageError('get needs files of the image and a destination')
    if (args.tar ?? (args.gzip || isArchive(target))) return toTar(args, sources, target, session)
    const lacking = withoutNative()
    if (lacking !== undefined)
      session.out.error(
        `xfskit get: without special files, attributes, and times below the millisecond, which need native calls (${lacking})\n`,
      )
    // A signal removes an incomplete file.
    const copy = async (volume: Volume) => {
      const places = placed(() => getPlaces(sources.map(imagePath), hostPath(target)))
      const steps = get(volume, places, {
        ...(args.owner === undefined ? {} : { owner: args.owner }),
        xattrs: args.xattrs !== false,
        ...(args.devices === undefined ? {} : { devices: args.devices }),
        onProblem: problemReporter(session, 'get'),
      })
      return withGetStatus(await drive(steps))
    }
    const result = await holdSignals(() => withVolume(session, args.image, 'read', { ...args, complete: true }, copy))
    return reportTransfer(session, 'get', result)
  },
}
export default command

async function toTar(args: Arguments, sources: readonly string[], target: string, session: Session): Promise<number> {
  const compression = compressionOf(target)
  if (compression !== undefined && compression !== 'gzip')
    throw new UsageError(`compression with ${compression} is not supported: get … --tar - | ${compression} >${target}`)
  const gzip = args.gzip ?? compression === 'gzip'
  const result = await holdSignals(() =>
    withVolume(session, args.image, 'read', { ...args, complete: true }, async (volume) => {
      const places = tarPlaces(sources.map(imagePath))
      const options = {
        xattrs: args.xattrs !== false,
        devices: args.devices !== false,
        onProblem: problemReporter(session, 'get'),
      }
      const steps =
        target === '-'
          ? getTar(
              volume,
              places,
              gatheringSink((bytes) => toReader(session.out, bytes), gzip),
              options,
            )
          : getTarFile(volume, places, hostPath(target), { ...options, gzip })
      return withGetStatus(await drive(steps))
    }),
  )
  return reportTransfer(session, 'get', result, { quiet: target === '-' })
}

/** Status 0 only if everything was copied, attributes included. */
const withGetStatus = (result: TransferResult): TransferResult & { readonly status: number } => ({
  ...result,
  status: result.problemCount === 0 ? OK : result.files > 0 ? PARTLY : FAILED,
})

/** @throws OutputClosed to stop reading the image */
function toReader(out: Output, bytes: Uint8Array): void {
  out.bytes(bytes)
  if (out.closed) throw new OutputClosed()
}
