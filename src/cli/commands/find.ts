import { XfsError } from '../../errors.ts'
import { systemClock, type Timestamp } from '../../format/time.ts'
import { exact } from '../../util/bytes.ts'
import { type Amount, type FindTest as Test, findTests as tests } from '../../xfsimage/find.ts'
import type { Walked } from '../../xfsimage/reading.ts'
import { modeText, timeText } from '../../xfsimage/stats.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { imagePath, parseCount, takePart } from '../arguments.ts'
import { FAILED, OK, type RawCommand, type Session, UsageError } from '../command.ts'
import { absolute, named, statFields } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'
import { parseTime, pathBelow, reportFailure } from '../paths.ts'

const USAGE = `usage: xfskit find IMAGE [PATH …] [TEST …]

Search directory trees of the image for files that match every test.

  -name GLOB  -iname GLOB     name                      -path GLOB           whole path
  -type fdlbcps               file type                 -size [+-]N[ckMGb]   bytes (c), k, M, G, or blocks of 512
  -mtime -atime -ctime [+-]N  days ago, rounded down    -newer PATH          changed after that file of the image
  -newermt TIME               changed after that time   -perm [-/]OCTAL      mode; all bits set (-), any bit set (/)
  -uid -gid -projid [+-]N     owner, group, project     -links -inum [+-]N   link count, inode number
  -empty                      empty file or directory   -xattr GLOB          extended attribute of that name
  -reflink                    may share blocks          ! TEST, -not TEST    negation
  -mindepth N  -maxdepth N    depth                     -print0  -ls         end paths with NUL; print a long listing

Options: --offset BYTES, --partition N, --json. Examples:
  xfskit find disk.img /etc -name '*.conf' -newermt 2026-01-01
  xfskit find disk.img / -type f -size +100M -ls
`

interface Query {
  readonly paths: readonly string[]
  readonly tests: readonly ((context: Context) => Test)[]
  readonly minDepth?: number
  readonly maxDepth?: number
  readonly form: 'plain' | 'zero' | 'long'
}

interface Context {
  readonly image: XfsImage
  readonly start: string
  readonly now: Timestamp
}

const command: RawCommand = {
  raw(argv, session) {
    // Later words may be values of tests: -name -h.
    if (argv.slice(0, 2).some((word) => word === '--help' || word === '-h')) {
      session.out.raw(USAGE)
      return OK
    }
    const { place, rest } = takePart(argv)
    const [image, ...words] = rest[0] === '--' ? rest.slice(1) : rest
    if (image === undefined) throw new UsageError('missing operand: IMAGE')
    const query = parse(words)
    return withImage(session, image, 'read', place, (opened) => run(opened, query, session))
  },
}
export default command

function run(image: XfsImage, query: Query, { out }: Session): number {
  let status = OK
  const complain = (path: string, error: XfsError): void => {
    status = FAILED
    reportFailure(out, 'find', path, error)
  }
  const found = function* (): Generator<Found> {
    for (const start of query.paths) {
      try {
        const context = { image, start, now: systemClock() }
        const options = {
          ...(query.minDepth === undefined ? {} : { minDepth: query.minDepth }),
          ...(query.maxDepth === undefined ? {} : { maxDepth: query.maxDepth }),
          onError: (path: Uint8Array, error: XfsError) => complain(pathBelow(start, path), error),
        }
        const made = query.tests.map((make) => make(context))
        for (const file of image.find(imagePath(start), made, options)) yield { file, start }
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        complain(start, error)
      }
    }
  }
  if (out.form !== 'text' || query.form === 'long') out.records('find', COLUMNS, rows(found(), out.json))
  else if (query.form === 'zero') for (const { file, start } of found()) out.bytes(rawPath(start, file))
  else for (const { file, start } of found()) out.raw(`${pathBelow(start, file.path)}\n`)
  return status
}

const COLUMNS = [
  { name: 'ino' }, { name: 'mode', left: true }, { name: 'nlink' }, { name: 'uid' }, { name: 'gid' }, { name: 'size' }, { name: 'mtime', left: true },
  { name: 'path', left: true },
] as const // biome-ignore format: a table

interface Found {
  readonly file: Walked
  readonly start: string
}

function* rows(found: Iterable<Found>, json: boolean): Generator<Row> {
  for (const { file, start } of found) {
    const stat = file.stat()
    if (json) yield { ...named('path', absolute(imagePath(start), file.path)), ...statFields(stat) }
    else {
      const { ino, nlink, uid, gid, size, mtime } = stat.xfs
      const path = pathBelow(start, file.path)
      yield { ino, mode: modeText(stat.xfs), nlink, uid, gid, size, mtime: timeText(mtime), path }
    }
  }
}

/** Paths that end in a zero byte are not escaped. */
function rawPath(start: string, { path }: Walked): Uint8Array {
  const top = Buffer.from(imagePath(start))
  const slash = path.length > 0 && top.at(-1) !== SLASH ? Buffer.of(SLASH) : Buffer.alloc(0)
  return Buffer.concat([top, slash, path, Buffer.alloc(1)])
}

const SLASH = 0x2f

const units: Readonly<Record<string, number>> = { b: 512, c: 1, w: 2, k: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

function amountOf(text: string, what: string): Amount {
  const match = /^([+-]?)(\d+)$/.exec(text)
  if (!match) throw new UsageError(`${what}: not a number: ${text}`)
  return { sign: match[1] as Amount['sign'], value: exact(BigInt(match[2] as string)) }
}

type MakeTest = (argument: string) => (context: Context) => Test

const always = (test: Test) => () => test
const numbered =
  (what: 'uid' | 'gid' | 'projid' | 'links' | 'inum'): MakeTest =>
  (text) =>
    always(tests[what](amountOf(text, what)))
const aged =
  (which: 'mtime' | 'atime' | 'ctime'): MakeTest =>
  (text) => {
    const amount = amountOf(text, which)
    return ({ now }) => tests.days(which, amount, now)
  }

const withArgument: Readonly<Record<string, MakeTest>> = {
  name: (glob) => always(tests.name(glob)),
  iname: (glob) => always(tests.name(glob, true)),
  path: (glob) => ({ start }) => tests.path(glob, start),
  type: (letters) => {
    if (!/^[fdlbcps](,?[fdlbcps])*$/.test(letters)) throw new UsageError(`-type: not of fdlbcps: ${letters}`)
    return always(tests.type(letters))
  },
  size: (text) => {
    const unit = /[bcwkMG]$/.exec(text)?.[0] ?? ''
    return always(tests.size(amountOf(text.slice(0, text.length - unit.length), '-size'), units[unit] ?? 512))
  },
  newer: (path) => ({ image }) => tests.newer(image.stat(imagePath(path)).xfs.mtime),
  newermt: (text) => always(tests.newer(parseTime(text))),
  perm: (text) => {
    const match = /^([-/]?)([0-7]{1,4})$/.exec(text)
    if (!match) throw new UsageError(`-perm: not octal: ${text}`)
    return always(tests.perm(Number.parseInt(match[2] as string, 8), match[1] as '' | '-' | '/'))
  },
  xattr: (glob) => always(tests.xattr(glob)),
  mtime: aged('mtime'), atime: aged('atime'), ctime: aged('ctime'),
  uid: numbered('uid'), gid: numbered('gid'), projid: numbered('projid'), links: numbered('links'), inum: numbered('inum'),
} // biome-ignore format: pairs

const alone: Readonly<Record<string, () => Test>> = { empty: tests.empty, reflink: tests.reflinked }

function parse(words: readonly string[]): Query {
  const paths: string[] = []
  const made: ((context: Context) => Test)[] = []
  let form: Query['form'] = 'plain'
  const depths: { minDepth?: number; maxDepth?: number } = {}
  let not = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (word === '!' || word === '-not') {
      not = !not
      continue
    }
    if (!word.startsWith('-')) {
      if (made.length > 0) throw new UsageError(`paths come before tests: ${word}`)
      paths.push(word)
      continue
    }
    const name = word.replace(/^--?/, '')
    const argument = (): string => {
      const next = words[++i]
      if (next === undefined) throw new UsageError(`${word} needs a value`)
      return next
    }
    const make = withArgument[name]?.(argument()) ?? (alone[name] && always(alone[name]()))
    if (make) {
      const negated = not
      made.push(negated ? (context) => tests.not(make(context)) : make)
      not = false
    } else if (name === 'mindepth') depths.minDepth = parseCount(argument(), word)
    else if (name === 'maxdepth') depths.maxDepth = parseCount(argument(), word)
    else if (name === 'print0') form = 'zero'
    else if (name === 'ls') form = 'long'
    else if (name !== 'print' && name !== 'a' && name !== 'and') throw new UsageError(`unknown test ${word}`)
  }
  return { paths: paths.length > 0 ? paths : ['/'], tests: made, form, ...depths }
}
