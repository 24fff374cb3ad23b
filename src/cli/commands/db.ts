import { readFileSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { runLine } from '../../db/commands.ts'
import { describe } from '../../db/describe.ts'
import { NotXfs, openImage } from '../../db/image.ts'
import { DbSession, type DbSessionOptions, Refusal } from '../../db/session.ts'
import type { Device } from '../../device/device.ts'
import { refuseMounted } from '../../device/inuse.ts'
import { XfsError } from '../../errors.ts'
import { escapeText } from '../../util/escape.ts'
import { sleep } from '../../util/sleep.ts'
import { getopt, hostPath, takePlace } from '../arguments.ts'
import { CannotRun, FAILED, OK, PARTLY, type RawCommand, type Session, UsageError } from '../command.ts'
import { withDevice } from '../image.ts'
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
      if (error instanceof UsageError) session.out.error(`xfskit db: ${error.message}\n${usage}`)
      else if (error instanceof CannotRun || error instanceof XfsError) {
        session.out.error(`${error.message}\n\nfatal error -- couldn't initialize XFS library\n`)
      } else throw error
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
  // Only expert mode changes the image; reading needs no lock and no write permission.
  const mode = has('x') && !readOnly ? 'write' : 'read'
  if (!readOnly && !has('f')) refuseInUse(image, program)
  const { status } = await withDevice(
    session,
    image,
    mode,
    { ...place, asDisk: asTool || has('F') },
    async (device) => {
      const opened = open(session, device, { image, program, force: has('F') })
      if (!opened) return { status: FAILED }
      const db = new DbSession({
        ...opened.options,
        expert: has('x'),
        readOnly,
        json: out.json,
        print: (text) => out.raw(text),
        warn: (text) => out.error(text),
        lines: linesOf,
      })
      const given = options.filter(({ letter }) => letter === 'c')
      if (given.length > 0) for (const { value } of given) if (out.closed || runLine(db, value) === 'quit') break
      if (given.length === 0) await converse(session, db, program)
      // Called as xfs_db the exit status is that of xfs_db; otherwise an unknown command is a
      // failure.
      const misused = db.misused && !asTool && !(given.length === 0 && process.stdin.isTTY)
      return { status: db.exitCode || opened.exitCode || (misused ? FAILED : OK) }
    },
  )
  // xfs_db has no other exit status for failures.
  return status === PARTLY ? FAILED : status
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

/** With the messages of xfs_db. @throws XfsError BUSY */
function refuseInUse(image: string, program: string): void {
  try {
    refuseMounted(hostPath(image), { readOnly: true })
  } catch (error) {
    throw error instanceof XfsError ? new XfsError(error.code, `${program}: ${escapeText(error.message)}`) : error
  }
}

function open(
  { out }: Session,
  device: Device,
  { image, program, force }: { image: string; program: string; force: boolean },
): { options: Pick<DbSessionOptions, 'device' | 'geometry' | 'program' | 'image'>; exitCode: number } | undefined {
  try {
    const { geometry, complaints, exitCode } = openImage(device, { force })
    for (const complaint of complaints) out.error(`${program}: ${complaint}\n`)
    return { options: { device, geometry, program, image }, exitCode }
  } catch (error) {
    if (error instanceof NotXfs) {
      const magic = error.magic.toString(16).padStart(8, '0')
      out.error(`${program}: ${image} is not a valid XFS filesystem (unexpected SB magic number 0x${magic})\n`)
      out.error('Use -F to force a read attempt.\n')
    } else if (error instanceof XfsError) {
      out.error(`${program}: ${image} is invalid (${error.message})\n`)
    } else throw error
    return undefined
  }
}

/** Commands from standard input, line by line, with a prompt on a terminal. */
async function converse({ out }: Session, db: DbSession, program: string): Promise<void> {
  if (process.stdin.isTTY !== true) {
    for (const line of inputLines()) {
      const end = out.closed || runLine(db, line) === 'quit'
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
    const end = out.closed || runLine(db, line) === 'quit'
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
