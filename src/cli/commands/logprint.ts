import { statSync } from 'node:fs'
import { basename } from 'node:path'
import { XfsError } from '../../errors.ts'
import { atoi } from '../../util/numbers.ts'
import { type ImageLog, LogFault, type LogPrintOptions, NoLog, NotXfs, openLog } from '../../xfsimage/logprint.ts'
import { getopt, hostPath, takePart } from '../arguments.ts'
import { FAILED, OK, type RawCommand, type Session, UsageError } from '../command.ts'
import { readOptionsOf } from '../open.ts'
import { version } from '../version.ts'

/** logprint: the command line of xfs_logprint, with its text and its exit status. */
const LETTERS = 'bC:cdefl:iqnos:tDVv'

const letterHelp = `Options:
    -c	            try to continue if error found in log
    -C <filename>   copy the log from the filesystem to filename
    -d	            dump the log in log-record format
    -e	            exit when an error is found in the log
    -f	            specified device is actually a file
    -h		    print hex data in host-endian order
    -l <device>     filename of external log
    -n	            don't try and interpret log data
    -o	            print buffer data in hex
    -s <start blk>  block # to start printing
    -v              print "overwrite" data
    -t	            print out transactional view
	-b          in transactional view, extract buffer info
	-i          in transactional view, extract inode info
	-q          in transactional view, extract quota info
    -D              print only data; no decoding
    -V              print version information
`
const toolUsage = `Usage: xfs_logprint [options...] <device>\n\n${letterHelp}`

const usage = `usage: xfskit logprint [options] IMAGE
  --timeline     what changed, in order
  --json         records, transactions and items between tail and head, one JSON object a line
  --offset N | --partition N     byte offset or partition of the filesystem
As xfs_logprint:
  -t             complete transactions between tail and head; without it all records
     -b -i -q    with it: details of buffers, inodes, quota records
  -d             where records begin, and where the cycle number changes
  -n             do not decode the data of operations
  -o             also the data of buffers in hexadecimal
  -D             all blocks in hexadecimal
  -v             the words that cycle numbers replaced
  -s BLOCK       start at this basic block of the log
  -c | -e        continue after an error; stop at an error (default)
  -f             the image is a log alone
  -l FILE        the external log
  -C FILE        copy the log to this file
  -V             version
The log is never replayed. In place of addresses in memory -t prints byte offsets in the log.
Examples: xfskit logprint -t -i disk.img
          xfskit logprint --timeline disk.img
`

const command: RawCommand = {
  raw: async (argv, session) => {
    const asTool = basename(process.argv[1] ?? '') === 'xfs_logprint'
    const { out } = session
    try {
      return await run(argv, session, asTool)
    } catch (error) {
      if (error instanceof UsageError) out.error(asTool ? toolUsage : `xfskit logprint: ${error.message}\n${usage}`)
      else if (error instanceof NoLog && asTool) out.error(`    ${error.message}\n\n${toolUsage}`)
      else if (error instanceof XfsError || error instanceof LogFault || error instanceof NotXfs) {
        const program = asTool ? 'xfs_logprint' : 'xfskit logprint'
        const code = error instanceof XfsError ? error.code : error.name
        out.message('error', program, error.message, { code, status: FAILED })
      } else throw error
      return FAILED
    }
  },
}
export default command

async function run(argv: readonly string[], session: Session, asTool: boolean): Promise<number> {
  const { out } = session
  if (argv.includes('--help')) {
    out.raw(usage)
    return OK
  }
  const { place, rest } = takePart(argv)
  const story = rest.includes('--timeline')
  const { options: given, operands } = getopt(
    rest.filter((word) => word !== '--timeline'),
    LETTERS,
  )
  const has = (letter: string): boolean => given.some((option) => option.letter === letter)
  const last = (letter: string): string | undefined => given.filter((option) => option.letter === letter).at(-1)?.value
  if (has('V')) {
    out.raw(asTool ? `xfs_logprint version ${version} (xfskit)\n` : `xfskit logprint version ${version}\n`)
    return OK
  }
  const [image, ...more] = operands
  if (image === undefined || more.length > 0) throw new UsageError('name one image')
  const external = last('l')
  const settings = {
    ...readOptionsOf(session, image, place),
    logOnly: has('f'),
    ...(external !== undefined && { log: { path: hostPath(external) } }),
  }
  const own = out.json || story
  if (!own) out.raw('xfs_logprint:\n')
  return openLog({ path: hostPath(image) }, settings, (log) => {
    if (log.dirty === true && !asTool)
      out.message('note', 'xfskit logprint', `${image}: the log is dirty: it has changes that are not in their places`)
    if (out.json) return entries(session, log)
    if (story) {
      for (const { depth, text } of log.timeline()) out.raw(`${'  '.repeat(depth)}${text}\n`)
      return OK
    }
    const copy = last('C')
    const output = {
      print: (text: string) => out.raw(text),
      warn: (text: string) => out.error(text),
      program: 'xfs_logprint',
    }
    const device = deviceNumber(image)
    const about = { ...(device !== undefined && { device }), ...(external !== undefined && { logName: external }) }
    if (copy === undefined) return log.print(output, printOptions(given), about)
    log.print(output, { view: 'none' }, about)
    log.copy(hostPath(copy))
    return OK
  })
}

function printOptions(given: readonly { readonly letter: string; readonly value: string }[]): LogPrintOptions {
  const has = (letter: string): boolean => given.some((option) => option.letter === letter)
  // The last of several views counts, and the last of -c and -e.
  const view = given.filter(({ letter }) => letter === 't' || letter === 'd').at(-1)?.letter
  const start = atoi(given.filter(({ letter }) => letter === 's').at(-1)?.value ?? '-1')
  return {
    view: view === 't' ? 'transactions' : view === 'd' ? 'blocks' : 'records',
    ...(start >= 0 && { start }),
    keepGoing: given.filter(({ letter }) => letter === 'c' || letter === 'e').at(-1)?.letter === 'c',
    noData: has('n'),
    data: has('o') || has('D'),
    onlyData: has('D'),
    overwritten: has('v'),
    buffers: has('b'),
    inodes: has('i'),
    quota: has('q'),
    anyUuid: has('f'),
  }
}

function entries({ out }: Session, log: ImageLog): number {
  out.records(
    'logprint',
    [],
    (function* () {
      for (const entry of log.entries()) yield { ...entry }
    })(),
  )
  return OK
}

function deviceNumber(image: string): number | undefined {
  const stats = statSync(hostPath(image), { throwIfNoEntry: false })
  return stats?.isBlockDevice() ? stats.rdev : undefined
}
