import { closeSync, openSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { XfsError } from '../../errors.ts'
import { pinnedTime } from '../../format/time.ts'
import {
  environmentOptions,
  type Made,
  type MakeOptions,
  mkfs,
  type OptionTexts,
  type ParsedOptions,
  parseOptions,
  parseSize,
} from '../../xfsimage/mkfs.ts'
import { getopt, hostPath, imagePath, takeOption, takeWait } from '../arguments.ts'
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
import { named } from '../json.ts'
import { withProgress } from '../progress.ts'
import { holdSignals } from '../signals.ts'
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
  const part = offset !== undefined || partition !== undefined
  const force = has('f') || has('C')
  const plan = has('N')
  const content = from === undefined || plan ? undefined : openContent(from)
  const inPlace = part || (content !== undefined && isDevice(image))
  const imageSize = size === undefined ? undefined : parseSize(size, '--size')
  const sized = imageSize !== undefined || options.size !== undefined || options.file === true
  if (content && !inPlace && !sized && !exists(image))
    throw new XfsError('NOENT', `${image} does not exist: --size sets its size`)
  if (content && !('fd' in content))
    warnLacking(session, 'mkfs', (await import('../../xfsimage/transfer.ts')).withoutNative())
  const atime = pinnedTime(process.env)
  const settings: MakeOptions = {
    ...environmentOptions(process.env),
    ...options,
    ...patience,
    ...(offset !== undefined && { offset: parseSize(offset, '--offset') }),
    ...(partition !== undefined && { partition: parseSize(partition, '--partition') }),
    ...(imageSize !== undefined && (inPlace ? { size: imageSize } : { imageSize })),
    ...(options.file === true && !inPlace && { imageSize: 'needed' as const }),
    existing: force || (options.file === true && !inPlace) ? 'overwrite' : 'refuse',
    action: plan ? 'plan' : 'format',
    name: image,
    ...(content && { from: content, ...(atime && { atime }), onProblem: problemReporter(session, 'mkfs') }),
  }
  try {
    const make = () => withProgress((long) => mkfs({ path: hostPath(image) }, { ...settings, ...long }))
    const made = await holdSignals(make)
    printResult(session, made, image, has('q') && !plan)
    return (made.filled?.problemCount ?? 0) > 0 ? PARTLY : OK
  } catch (error) {
    if (!(error instanceof Interrupted) || !(inPlace || content)) throw error
    throw new Interrupted(error.signal, inPlace ? 'no filesystem was created' : 'no image was created')
  } finally {
    if (content && 'fd' in content && content.fd > 0) closeSync(content.fd)
  }
}

const exists = (image: string): boolean => statSync(hostPath(image), { throwIfNoEntry: false }) !== undefined
const isDevice = (image: string): boolean => statSync(hostPath(image), { throwIfNoEntry: false })?.isFile() === false

/** Open the argument of `--from` before anything is created. @throws XfsError NOENT, NOTDIR */
function openContent(from: string): { readonly path: string | Buffer } | { readonly fd: number } {
  const path = hostPath(from)
  try {
    if (from === '-') return { fd: 0 }
    if (statSync(path).isDirectory()) return { path }
    if (isArchive(from)) return { fd: openSync(path, 'r') }
  } catch (error) {
    throw new XfsError('NOENT', `${from}: ${(error as Error).message}`, undefined, { cause: error })
  }
  throw new XfsError('NOTDIR', `--from ${from}: not a directory, and not named .tar, .tar.gz or .tgz`)
}

function printResult(
  { out }: Session,
  { notes, warnings, report, geometry, filled }: Made,
  image: string,
  quiet: boolean,
): void {
  for (const warning of warnings) out.error(`${warning}\n`)
  if (out.form !== 'text') {
    const name = named('image', Buffer.from(hostPath(image) as string))
    const made = { ...name, features: geometry.features.names, superblock: geometry.sb }
    out.document('mkfs', { ...made, ...(filled && { filled: transferReport('mkfs', filled) }) }, () => report)
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
