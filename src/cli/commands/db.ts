import { readFileSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { XfsError } from '../../errors.ts'
import { sleep } from '../../util/sleep.ts'
import { type Db, describe, NotXfs, openDb, Refusal } from '../../xfsimage/db.ts'
import { getopt, hostPath, takePlace } from '../arguments.ts'
import { CannotRun, FAILED, OK, type RawCommand, type Session, UsageError } from '../command.ts'
import { changeOptionsOf, changesText, changing } from '../open.ts'
import { version } from '../version.ts'

/** db: the command line of xfs_db, with its messages and its exit status. */
const LETTERS = 'c:fFip:rxVl:R:'

const usage = `usage: xfskit db [-ifFrxV] [-p prog] [-l logdev] [-R rtdev] [-c cmd]... IMAGE
       xfskit db describe [STRUCT] [--json]     print the on-disk layout of structures
  -c CMD     run this command; several run in order. Without -c commands come from standard input
  -x         expert mode: enables the commands that change the image
  -r, -i     read-only; also mounted filesystems
  -f         the image is a file; do not check whether it is mounted
  -F         continue with a secondary superblock if the primary one is not valid
  -l, -R     accepted without effect: other devices are not used
  -p PROG    program name in messages
  -V         version
  --json     print one JSON document per command
  --offset N | --partition N     byte offset or partition of the filesystem
  --dry-run | --output FILE      change nothing, or change a sparse copy
  --wait[=SECONDS]               wait for another xfskit that changes the image
Examples: xfskit db -c 'sb 0' -c 'print agcount' disk.img
          xfskit db -x -c 'agf 1' -c 'write -d freeblks 0' disk.img
          xfskit db -c help disk.img
`

const command: RawCommand = {
  raw: async (argv, session) => {
    try {
      return await run(argv, session)
    } catch (error) {
      const known = error instanceof UsageError || error instanceof CannotRun || error instanceof XfsError
      if (!known) throw error
      const { out } = session
      if (out.json) {
        const code = error instanceof XfsError ? error.code : error.name
        out.message('error', 'xfskit db', error.message, { code, status: FAILED })
      } else if (error instanceof UsageError) out.error(`xfskit db: ${error.message}\n${usage}`)
      else out.error(`${error.message}\n\nfatal error -- couldn't initialize XFS library\n`)
      return FAILED
    }
  },
}
export default command

async function run(argv: readonly string[], session: Session): Promise<number> {
  const { out } = session
  const asTool = basename(process.argv[1] ?? '') === 'xfs_db'
  if (argv.includes('--help')) {
    out.raw(usage)
    return asTool ? FAILED : OK
  }
  const { place, rest } = takePlace(argv)
  const { options, operands } = getopt(rest, LETTERS)
  const has = (letter: string): boolean => options.some((option) => option.letter === letter)
  const program = options.filter(({ letter }) => letter === 'p').at(-1)?.value ?? 'xfs_db'
  if (has('V')) {
    out.raw(asTool ? `${program} version ${version} (xfskit)\n` : `xfskit db version ${version}\n`)
    return OK
  }
  const [image] = operands
  if (image === 'describe' && !asTool) return describeStructures(session, operands.slice(1))
  if (image === undefined || operands.length > 1)
    throw new UsageError(image === undefined ? 'no image named' : 'one image only')
  const readOnly = has('r') || has('i')
  const settings = {
    ...changeOptionsOf(session, image, place),
    whole: asTool || has('F'),
    expert: has('x'),
    readOnly,
    force: has('F'),
    mounted: readOnly || has('f'),
    name: image,
    program,
    json: out.json,
    print: (text: string) => out.raw(text),
    warn: (text: string) => (out.json ? out.message('warning', program, text.trimEnd()) : out.error(text)),
    lines: linesOf,
  }
  const work = async (db: Db): Promise<number> => {
    const given = options.filter(({ letter }) => letter === 'c')
    if (given.length > 0) for (const { value } of given) if (out.closed || db.run(value) === 'quit') break
    if (given.length === 0) await converse(session, db, program)
    if (place.dryRun && has('x') && !readOnly) out.line(changesText(db.changes))
    // Called as xfs_db the exit status is that of xfs_db; otherwise an unknown command is a
    // failure.
    const misused = db.misused && !asTool && !(given.length === 0 && process.stdin.isTTY)
    return db.exitCode || (misused ? FAILED : OK)
  }
  const changes = has('x') && !readOnly
  try {
    const open = (): Promise<number> => openDb({ path: hostPath(image) }, settings, work, (status) => status !== FAILED)
    return await (changes ? changing(image, place, open) : open())
  } catch (error) {
    if (error instanceof XfsError && error.code === 'BUSY')
      throw new XfsError(error.code, `${program}: ${error.message}`, error.where, { cause: error })
    if (!(error instanceof NotXfs || error instanceof Refusal)) throw error
    const magic = error instanceof NotXfs ? error.magic.toString(16).padStart(8, '0') : ''
    const why =
      error instanceof NotXfs
        ? `${image} is not a valid XFS filesystem (unexpected SB magic number 0x${magic})\nUse -F to force a read attempt.`
        : `${image} is invalid (${error.message})`
    if (out.json) out.message('error', 'xfskit db', why, { code: error.name, status: FAILED })
    else out.error(`${program}: ${why}\n`)
    return FAILED
  }
}

/** `db describe`: without an image. */
function describeStructures({ out }: Session, [name, ...more]: readonly string[]): number {
  if (more.length > 0) throw new UsageError('describe takes one structure')
  try {
    out.raw(describe(name, out.json))
    return OK
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new UsageError(error.message)
  }
}

/** Commands from standard input, line by line, with a prompt on a terminal. */
async function converse({ out }: Session, db: Db, program: string): Promise<void> {
  if (process.stdin.isTTY !== true) {
    for (const line of inputLines()) {
      const end = out.closed || db.run(line) === 'quit'
      out.flush()
      if (end) return
    }
    return
  }
  const { createInterface } = await import('node:readline')
  const reader = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: `${program}> `,
    historySize: 100,
  })
  reader.prompt()
  for await (const line of reader) {
    const end = out.closed || db.run(line) === 'quit'
    out.flush()
    if (end) break
    reader.prompt()
  }
  reader.close()
}

/** Lines of standard input as they arrive; a backslash at the end continues the line. */
function* inputLines(): Generator<string> {
  const chunk = Buffer.alloc(4096)
  const decoder = new StringDecoder('utf8')
  let pending = ''
  for (;;) {
    const end = pending.search(/(^|[^\\])\n/)
    if (end >= 0) {
      const at = pending.indexOf('\n', end)
      yield pending.slice(0, at).replaceAll('\\\n', ' ')
      pending = pending.slice(at + 1)
      continue
    }
    const count = readInput(chunk)
    if (count === 0) break
    pending += decoder.write(chunk.subarray(0, count))
  }
  if (pending !== '') yield pending.replaceAll('\\\n', ' ')
}

function readInput(chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(0, chunk)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EOF') return 0
      if (code !== 'EAGAIN') throw error
      sleep(10)
    }
  }
}

function linesOf(path: string): readonly string[] | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/\n$/, '').replaceAll('\\\n', ' ').split('\n')
  } catch {
    return undefined
  }
}
