import { Writable } from 'node:stream'
import { type GetOptions, type TransferResult, withoutNative } from '../../xfsimage/transfer.ts'
import { hostPath, type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK, OutputClosed, PARTLY, type Session, UsageError } from '../command.ts'
import { withImage } from '../open.ts'
import type { Output } from '../output.ts'
import { withProgress } from '../progress.ts'
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
      session.out.message(
        'warning',
        'xfskit get',
        `without special files, attributes, and times below the millisecond, which need native calls (${lacking})`,
      )
    const options = {
      ...(args.owner !== undefined && { owner: args.owner }),
      ...(args.devices !== undefined && { devices: args.devices }),
    }
    return reportTransfer(session, 'get', await copied(args, sources, { path: hostPath(target) }, session, options))
  },
}
export default command

async function toTar(args: Arguments, sources: readonly string[], target: string, session: Session): Promise<number> {
  const compression = compressionOf(target)
  if (compression !== undefined && compression !== 'gzip')
    throw new UsageError(`compression with ${compression} is not supported: get … --tar - | ${compression} >${target}`)
  const options = { tar: true, gzip: args.gzip ?? compression === 'gzip', devices: args.devices !== false }
  const to = target === '-' ? writableOf(session.out) : { path: hostPath(target) }
  return reportTransfer(session, 'get', await copied(args, sources, to, session, options), { quiet: target === '-' })
}

/** A signal removes an incomplete file. */
const copied = (
  args: Arguments,
  sources: readonly string[],
  target: Writable | { readonly path: string | Uint8Array },
  session: Session,
  options: GetOptions,
): Promise<TransferResult & { readonly status: number }> =>
  holdSignals(() =>
    withImage(session, args.image, 'read', { ...args, whole: true }, async (image) => {
      const more = { ...options, xattrs: args.xattrs !== false, onProblem: problemReporter(session, 'get') }
      const paths = sources.map(imagePath)
      return withGetStatus(
        await placed(() => withProgress((long) => image.get(paths, target as Writable, { ...more, ...long }))),
      )
    }),
  )

/** Standard output. It ends with OutputClosed to stop reading the image. */
const writableOf = (out: Output): Writable =>
  new Writable({
    write(bytes: Uint8Array, _encoding, done) {
      try {
        out.bytes(bytes)
        done(out.closed ? new OutputClosed() : null)
      } catch (error) {
        done(error as Error)
      }
    },
  })

/** Status 0 only if everything was copied, attributes included. */
const withGetStatus = (result: TransferResult): TransferResult & { readonly status: number } => ({
  ...result,
  status: result.problemCount === 0 ? OK : result.files > 0 ? PARTLY : FAILED,
})
