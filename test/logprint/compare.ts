import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { type LogPrintOptions, openLog } from '../../src/xfsimage/logprint.ts'
import { newest } from '../support/oracles.ts'

/** Our text of a log beside that of xfs_logprint. */

/** Options of xfs_logprint and ours. */
export const optionSets: readonly (readonly [string, LogPrintOptions])[] = [
  ['', {}],
  ['-t', { view: 'transactions' }],
  ['-t -b -i -q', { view: 'transactions', buffers: true, inodes: true, quota: true }],
  ['-t -b -i -q -o', { view: 'transactions', buffers: true, inodes: true, quota: true, data: true }],
  ['-o -v', { data: true, overwritten: true }],
  ['-n', { noData: true }],
  ['-d', { view: 'blocks' }],
  ['-d -n', { view: 'blocks', noData: true }],
  ['-s 3 -c', { start: 3, keepGoing: true }],
]

interface Said {
  readonly status: number | null
  readonly lines: readonly string[]
}

/** The view of transactions has addresses in the tool's memory: other numbers in every run. */
const withoutAddresses = (text: string): string => text.replaceAll(/(?<= (?:a|q):)0x[0-9a-f]+/g, 'ADDRESS')

const linesOf = (text: string, messages: string): string[] =>
  `${withoutAddresses(text)}--- standard error\n${messages}`.split('\n')

function theirs(image: string, args: string): Said {
  const words = args.split(' ').filter((word) => word !== '')
  const { status, stdout, stderr } = spawnSync(newest.logprint, [...words, image], {
    encoding: 'utf8',
    maxBuffer: 2 ** 29,
  })
  return { status, lines: linesOf(stdout, stderr) }
}

export async function ours(image: string, options: LogPrintOptions, logOnly = false): Promise<Said> {
  const text = ['xfs_logprint:\n']
  const messages: string[] = []
  const output = {
    print: (part: string) => text.push(part),
    warn: (part: string) => messages.push(part),
    program: 'xfs_logprint',
  }
  const status = await openLog(image, { logOnly }, (log) => log.print(output, options))
  return { status, lines: linesOf(text.join(''), messages.join('')) }
}

/** Both say the same, on both outputs, with the same exit status. */
export async function sameText(image: string, args: string, options: LogPrintOptions, what = ''): Promise<void> {
  const expected = theirs(image, args)
  const { lines, status } = await ours(image, options)
  const about = `${what} ${args}`
  // All of the text would make the message of a failure unreadable.
  const differs = expected.lines.findIndex((line, i) => line !== lines[i])
  const at = differs < 0 ? expected.lines.length : differs
  const [from, to] = [Math.max(0, at - 3), at + 5]
  assert.deepEqual(lines.slice(from, to), expected.lines.slice(from, to), `${about}: line ${at}`)
  assert.equal(lines.length, expected.lines.length, `${about}: number of lines`)
  assert.equal(status, expected.status, `${about}: exit status`)
}
