import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { isatty } from 'node:tty'
import { changesNothing, type Io, type IoRecord, type OpenFlags, parseMode } from '../../xfsimage/io.ts'
import { getopt, hostPath, type ImageArguments, takePlace } from '../arguments.ts'
import { CannotRun, FAILED, type RawCommand, UsageError } from '../command.ts'
import { withImage } from '../open.ts'
import { pause } from '../progress.ts'
import { version } from '../version.ts'

const HELP = `xfskit io [options] IMAGE [FILE...] [-c COMMAND]...

xfs_io on an image: open files by their paths in the image and run the commands of -c or of standard input, one per line.

  -c COMMAND  run it for every open file (may be repeated)      -C COMMAND  run it once
  -f  create the files     -r  open read-only     -a  append only     -t  truncate to length 0     -m MODE  of new files
  -p NAME  program name in messages                      -V  print the version
  -d -F -i -n -s -x  accepted without effect
  --offset BYTES, --partition N   byte offset or partition of the filesystem
  --dry-run   print what would change                     -o FILE     change a sparse copy
  --wait[=SECONDS]            wait for another xfskit that changes the image

  help, help COMMAND  list the commands, or describe the arguments of one

Examples:
  xfskit io disk.img /etc/fstab -c 'pread -v 0 64'
  xfskit io -f disk.img /copy -c 'reflink /original' -c 'fiemap -v'
  printf 'open -f /a\\npwrite 0 1m\\nbmap -v\\n' | xfskit io disk.img
`

interface Request {
  readonly image: string
  readonly paths: readonly string[]
  readonly where: ImageArguments
  readonly flags: OpenFlags
  readonly mode: number | undefined
  readonly program: string
  /** Empty: commands come from standard input. */
  readonly lines: readonly { readonly text: string; readonly iterate: boolean }[]
}

function parse(argv: readonly string[]): Request | 'version' {
  const { place, rest } = takePlace(argv)
  const { options, operands } = getopt(rest, 'ac:C:dFfiLm:o:p:PnrRstTVx')
  const flags: { -readonly [Name in keyof OpenFlags]: OpenFlags[Name] } = {}
  const lines: { text: string; iterate: boolean }[] = []
  let mode: number | undefined
  let program = 'xfs_io'
  let { output } = place
  for (const { letter, value } of options) {
    if (letter === 'c' || letter === 'C') lines.push({ text: value, iterate: letter === 'c' })
    else if (letter === 'V') return 'version'
    else if (letter === 'm') {
      mode = parseMode(value)
      if (mode === undefined) throw new UsageError(`non-numeric mode -- ${value}`)
    } else if (letter === 'p') program = value
    else if (letter === 'o') output = value
    else if (FLAGS[letter]) flags[FLAGS[letter] as keyof OpenFlags] = true
    else if (letter === 'T') throw new UsageError('-T: a file without a name would be lost when the image is closed')
  }
  const [image, ...paths] = operands
  if (image === undefined) throw new UsageError('missing operand: IMAGE')
  const where = { ...place, ...(output !== undefined && { output }) }
  return { image, paths, where, flags, mode, program, lines }
}

const FLAGS: Readonly<Record<string, keyof OpenFlags>> = {
  a: 'append', d: 'direct', f: 'create', L: 'noFollow', n: 'nonBlock', P: 'path', r: 'readOnly', R: 'realtime', s: 'sync', t: 'truncate',
} // biome-ignore format: a table

const command: RawCommand = {
  async raw(argv, session) {
    if (argv.some((word) => word === '--help' || word === '-h')) {
      session.out.raw(HELP)
      return
    }
    const request = parse(argv)
    if (request === 'version') {
      session.out.raw(`xfs_io version ${version}\n`)
      return
    }
    const { image, paths, where, flags, mode, program } = request
    const interactive = request.lines.length === 0 && isatty(0)
    const lines = interactive ? [] : request.lines.length > 0 ? request.lines : standardInput()
    const looks = !interactive && !flags.create && !flags.truncate && changesNothing(lines.map(({ text }) => text))
    return withImage(session, image, looks ? 'read' : 'write', where, async (opened) => {
      const { out } = session
      const said = { records: [] as IoRecord[], output: '', errors: '' }
      const io = await opened.io({
        program,
        print: (text) => {
          if (out.json) said.output += text
          else out.raw(text)
        },
        warn: (text) => {
          if (out.json) said.errors += text
          else out.error(text)
        },
        readHost,
        ...(out.json && { result: (record) => said.records.push(record) }),
      })
      const answer = (command: string): void => {
        if (out.json)
          out.document(
            'io.command',
            { command, records: said.records, output: lined(said.output), errors: lined(said.errors) },
            () => '',
          )
        said.records = []
        said.output = ''
        said.errors = ''
      }
      for (const path of paths) {
        if (io.open(path, flags, mode)) continue
        answer(`open ${path}`)
        return 1
      }
      if (interactive) prompt(io, program, () => session.out.flush())
      else
        for (const { text, iterate } of lines) {
          const end = io.run(text, iterate)
          if (text.trim() !== '') answer(text)
          if (end) break
          await pause()
        }
      return io.deviceFailed ? FAILED : io.exitCode
    })
  },
}

/** The lines of a text; the last one may be without an end. */
const lined = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'))

/** A script: one command per line. */
const standardInput = (): { text: string; iterate: boolean }[] =>
  readFileSync(0, 'utf8')
    .split('\n')
    .map((text) => ({ text, iterate: false }))

function readHost(path: string): Uint8Array {
  try {
    return readFileSync(hostPath(path))
  } catch (error) {
    throw new CannotRun(`${path}: ${(error as Error).message}`)
  }
}

/** Prompt for a command, run it, repeat. The terminal does the line editing. */
function prompt(io: Io, program: string, flush: () => void): void {
  const terminal = openSync('/dev/tty', 'r')
  const chunk = new Uint8Array(4096)
  let pending = ''
  try {
    for (;;) {
      process.stdout.write(`${program}> `)
      while (!pending.includes('\n')) {
        const length = readSync(terminal, chunk)
        if (length === 0) return
        pending += Buffer.from(chunk.subarray(0, length)).toString()
      }
      const end = pending.indexOf('\n')
      const line = pending.slice(0, end)
      pending = pending.slice(end + 1)
      const done = io.run(line, false)
      flush()
      if (done) return
    }
  } finally {
    closeSync(terminal)
  }
}

export default command
