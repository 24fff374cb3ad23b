import { closeSync, openSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import type { Device } from '../../device/device.ts'
import { sectorSizes } from '../../device/file.ts'
import { XfsError } from '../../errors.ts'
import { pinnedTime } from '../../format/time.ts'
import { type MkfsDeviceOptions, type MkfsResult, mkfs } from '../../mkfs/mkfs.ts'
import { type MkfsFileOptions, mkfsFile, refuseExisting } from '../../mkfs/mkfsfile.ts'
import {
  environmentOptions,
  type OptionTexts,
  type ParsedOptions,
  parseOptions,
  parseSize,
} from '../../mkfs/options.ts'
import type { PutSource, TransferResult } from '../../transfer/put.ts'
import { getopt, hostPath, type ImageArguments, imagePath, takeOption, takeWait } from '../arguments.ts'
import {
  ChangedInPart,
  FAILED,
  Interrupted,
  OK,
  PARTLY,
  type RawCommand,
  type Session,
  UsageError,
} from '../command.ts'
import { isArchive, problemReporter, transferReport, transferText, warnLacking } from '../transfer.ts'
import { version } from '../version.ts'

/** mkfs: the command line of mkfs.xfs, with its messages and its exit status. */
const LETTERS = 'b:c:d:i:l:L:m:n:KNp:qr:s:CfV'
const SUBOPTIONS = ['b', 'd', 'i', 'l', 'm', 'n', 's'] as const
const REFUSED: Readonly<Record<string, string>> = {
  c: '-c is not supported: configuration files are not read',
  p: '-p is not supported: prototype files are not read; --from takes a directory or a tar archive',
  r: '-r is not supported: there are no realtime devices',
}

const usage = `usage: xfskit mkfs [options] IMAGE
  --size N             size of the image file in bytes; an existing file is replaced
  --from PATH          copy this directory or tar archive into it (- for standard input)
  -b size=N            block size, 1k to 64k (4k)
  -d [size=N] [agcount=N|agsize=N] [file,name=PATH] [sectsize=N] [noalign]
  -f                   overwrite an existing filesystem or partition table
  -i [size=N] [maxpct=N] [sparse=0|1] [nrext64=0|1] [exchange=0|1] [attr=2] [projid32bit=1]
  -K                   accepted without effect: blocks are never discarded
  -l [size=N] [agnum=N] [internal] [version=2] [lazy-count=1]
  -L LABEL             at most 12 bytes
  -m [crc=1] [finobt=0|1] [inobtcount=0|1] [rmapbt=0|1] [reflink=0|1] [bigtime=0|1]
     [uuid=UUID] [autofsck=none|check|optimize|repair] [metadir=0]
  -n [size=N] [version=2] [ftype=1] [parent=0|1]
  -N                   print the geometry, write nothing
  -q                   quiet
  -s size=N            sector size, 512 to 32k (512)
  -V                   version
  --offset N | --partition N   byte offset or partition of the image to format
  --wait[=SECONDS]     wait for another xfskit that changes the image
N takes the suffixes s (sectors) b (blocks) k m g t p e. Features are on unless switched off.
SOURCE_DATE_EPOCH, DETERMINISTIC_SEED and -m uuid= make a reproducible image.
Example: xfskit mkfs --size 1g disk.img
         xfskit mkfs --size 1g --from rootfs disk.img
`

const command: RawCommand = {
  raw: async (argv, session) => {
    const asTool = basename(process.argv[1] ?? '') === 'mkfs.xfs'
    try {
      return await run(argv, session)
    } catch (error) {
      if (!(error instanceof XfsError || error instanceof UsageError)) throw error
      const exists = error instanceof XfsError && error.code === 'EXIST'
      const prefix = !asTool ? 'xfskit mkfs: ' : exists ? 'mkfs.xfs: ' : ''
      session.out.error(
        error.message
          .split('\n')
          .map((line) => `${prefix}${line}\n`)
          .join(''),
      )
      const misused = error instanceof UsageError || (error instanceof XfsError && error.code === 'INVAL')
      if (asTool && misused) session.out.error(usage)
      return error instanceof ChangedInPart ? PARTLY : FAILED
    }
  },
}
export default command

async function run(argv: readonly string[], session: Session): Promise<number> {
  const { out } = session
  if (argv.includes('--help')) {
    out.raw(usage)
    return OK
  }
  const { value: size, rest: afterSize } = takeOption(argv, '--size')
  const { value: offset, rest: afterOffset } = takeOption(afterSize, '--offset')
  const { value: partition, rest: afterPartition } = takeOption(afterOffset, '--partition')
  const { value: from, rest: afterFrom } = takeOption(afterPartition, '--from')
  const { place: patience, rest } = takeWait(afterFrom)
  const { options: given, operands } = getopt(
    rest.filter((word) => word !== '--unsupported'),
    LETTERS,
  )
  const has = (letter: string): boolean => given.some((option) => option.letter === letter)
  for (const { letter } of given) {
    const refused = REFUSED[letter]
    if (refused) throw new XfsError('UNSUPPORTED', refused)
  }
  if (has('V')) {
    out.raw(`xfskit mkfs version ${version}\n`)
    return OK
  }
  if (operands.length > 1) throw new XfsError('INVAL', 'extra arguments')
  const options = parseOptions(optionTexts(given))
  const image = imageName(options, operands[0])
  if (image === undefined) {
    out.error(`No data device name specified\n${usage}`)
    return FAILED
  }
  const all = { ...environmentOptions(process.env), ...options }
  const mode = { force: has('f') || has('C'), plan: has('N') }
  const place = {
    ...patience,
    ...(offset !== undefined && { offset: parseSize(offset, '--offset') }),
    ...(partition !== undefined && { partition: parseSize(partition, '--partition') }),
  }
  const content = from === undefined || mode.plan ? undefined : openContent(from)
  const part = offset !== undefined || partition !== undefined
  const fileOptions: MkfsFileOptions = {
    ...all,
    ...(size !== undefined && { imageSize: parseSize(size, '--size') }),
    ...(options.file === true && { imageSize: 'needed' as const }),
    existing: mode.force || options.file === true ? 'overwrite' : 'refuse',
    action: mode.plan ? 'plan' : 'format',
    name: image,
  }
  const { result, filled } =
    part || (content && isDevice(image))
      ? await formatInPlace(session, image, place, size, all, mode, content)
      : content
        ? await formatWhole(session, image, place, fileOptions, content)
        : { result: await formatFile(image, patience, fileOptions), filled: undefined }
  printResult(session, result, image, has('q') && !mode.plan, filled)
  return (filled?.problemCount ?? 0) > 0 ? PARTLY : OK
}

/** Create the image. It is durable when this returns. */
async function formatFile(
  image: string,
  { wait }: Pick<ImageArguments, 'wait'>,
  options: MkfsFileOptions,
): Promise<MkfsResult> {
  const [{ whenFree }, { holdSignals }, { syncFolder }] = await Promise.all([
    import('../changing.ts'),
    import('../signals.ts'),
    import('../../device/outputfile.ts'),
  ])
  const result = await holdSignals(() => whenFree(wait, () => mkfsFile(hostPath(image), options)))
  if (options.action !== 'plan') syncFolder(hostPath(image))
  return result
}

interface Made {
  readonly result: MkfsResult
  readonly filled: TransferResult | undefined
}

const isDevice = (image: string): boolean => statSync(hostPath(image), { throwIfNoEntry: false })?.isFile() === false

/**
 * Format and fill under a temporary name: an incomplete image never gets the final name. An
 * existing file is locked meanwhile, and unchanged on failure.
 * @throws XfsError NOSPC if the tree does not fit
 */
async function formatWhole(
  session: Session,
  image: string,
  place: ImageArguments,
  options: MkfsFileOptions,
  content: PutSource,
): Promise<Made> {
  const [{ whenFree }, { outputFile }, { openFile }, { withDevice }] = await Promise.all([
    import('../changing.ts'),
    import('../../device/outputfile.ts'),
    import('../../device/file.ts'),
    import('../image.ts'),
  ])
  const target = hostPath(image)
  const there = statSync(target, { throwIfNoEntry: false })
  if (!there && options.imageSize === undefined && options.size === undefined)
    throw new XfsError('NOENT', `${image} does not exist: --size sets its size`)
  mkfsFile(target, { ...options, action: 'plan' })
  const held = there && (await whenFree(place.wait, () => openFile(target, 'rw')))
  const file = outputFile(target)
  try {
    const size = there && options.imageSize === undefined ? { imageSize: there.size } : {}
    const made = { ...options, ...size, existing: 'overwrite' as const }
    const result = await formatFile(String(file.path), place, made)
    const filled = await withDevice(session, String(file.path), 'write', place, (device) =>
      fill(session, image, device, content),
    )
    file.commit()
    return { result, filled }
  } catch (error) {
    file.abandon()
    // The file with the changes was removed.
    if (error instanceof ChangedInPart) throw error.cause
    throw error instanceof Interrupted ? new Interrupted(error.signal, 'no image was created') : error
  } finally {
    held?.close()
  }
}

/** Open the argument of `--from` before anything is created. @throws XfsError NOENT, NOTDIR */
function openContent(from: string): PutSource {
  const host = Buffer.from(hostPath(from))
  const where = { host, dir: Buffer.from('/'), name: undefined }
  try {
    if (from === '-') return { ...where, tar: 0 }
    if (statSync(host).isDirectory()) return where
    if (isArchive(from)) return { ...where, tar: openSync(host, 'r') }
  } catch (error) {
    throw new XfsError('NOENT', `${from}: ${(error as Error).message}`, undefined, { cause: error })
  }
  throw new XfsError('NOTDIR', `--from ${from}: not a directory, and not named .tar, .tar.gz or .tgz`)
}

/**
 * Into the root directory.
 * @throws XfsError NOSPC if the tree does not fit
 */
async function fill(session: Session, image: string, device: Device, content: PutSource): Promise<TransferResult> {
  const [{ openToChange }, { put }, { withoutNative }, { drive }] = await Promise.all([
    import('../image.ts'),
    import('../../transfer/put.ts'),
    import('../../device/native.ts'),
    import('../progress.ts'),
  ])
  if (content.tar === undefined) warnLacking(session, 'mkfs', withoutNative())
  const volume = openToChange(image, device)
  try {
    const options = { atime: pinnedTime(process.env), onProblem: problemReporter(session, 'mkfs') }
    const filled = await drive(put(volume, [content], options))
    if (filled.problems.some(({ code }) => code === 'NOSPC'))
      throw new XfsError('NOSPC', 'not all files fit: no filesystem was created')
    volume.sync()
    return filled
  } finally {
    if (content.tar !== undefined && content.tar > 0) closeSync(content.tar)
  }
}

/**
 * Format an existing image, a part of one, or a device. With --from the primary superblock is
 * written after the content.
 */
async function formatInPlace(
  session: Session,
  image: string,
  place: ImageArguments,
  size: string | undefined,
  options: ParsedOptions,
  mode: { force: boolean; plan: boolean },
  content: PutSource | undefined,
): Promise<Made> {
  const [{ withDevice }, { holdBack }] = await Promise.all([import('../image.ts'), import('../../device/holdback.ts')])
  const sectors = sectorSizes(hostPath(image))
  const all: MkfsDeviceOptions = {
    ...options,
    ...(size !== undefined && { size: parseSize(size, '--size') }),
    ...(sectors && { deviceSectors: sectors }),
    action: mode.plan ? 'plan' : 'format',
  }
  try {
    return await withDevice(
      session,
      image,
      mode.plan ? 'read' : 'write',
      { ...place, asDisk: true },
      async (device: Device) => {
        if (!mode.force) refuseExisting(device, image)
        if (!content) return { result: mkfs(device, all, image), filled: undefined }
        const held = holdBack(device)
        const result = mkfs(held, all, image)
        const filled = await fill(session, image, held, content)
        held.release()
        return { result, filled }
      },
    )
  } catch (error) {
    throw error instanceof Interrupted ? new Interrupted(error.signal, 'no filesystem was created') : error
  }
}

function printResult(
  { out }: Session,
  { notes, warnings, report, geometry }: MkfsResult,
  image: string,
  quiet: boolean,
  filled: TransferResult | undefined,
): void {
  for (const warning of warnings) out.error(`${warning}\n`)
  if (out.form !== 'text') {
    const made = { image, features: geometry.features.names, superblock: geometry.sb }
    out.document('mkfs', { ...made, ...(filled && { filled: transferReport(filled) }) }, () => report)
    return
  }
  for (const note of notes) out.raw(`${note}\n`)
  if (quiet) return
  out.raw(report)
  if (filled) out.line(transferText(filled))
}

function optionTexts(given: readonly { readonly letter: string; readonly value: string }[]): OptionTexts {
  const of = (letter: string): string[] => given.filter((option) => option.letter === letter).map(({ value }) => value)
  const label = of('L').at(-1)
  return {
    ...Object.fromEntries(SUBOPTIONS.map((letter) => [letter, of(letter)])),
    ...(label !== undefined && { label: imagePath(label) }),
  }
}

function imageName(options: ParsedOptions, operand: string | undefined): string | undefined {
  if (options.name !== undefined && operand !== undefined) throw new XfsError('INVAL', '-d name option respecified')
  const name = operand ?? options.name
  if (options.file === true && (name === undefined || options.size === undefined)) {
    throw new XfsError('INVAL', 'if -d file then -d name and -d size are required')
  }
  return name
}
