import { getopt } from '../util/getopt.ts'
import { btdump } from './btdump.ts'
import { convert } from './convert.ts'
import { crc } from './crc.ts'
import { describe } from './describe.ts'
import { type Fork, mappedForks } from './extents.ts'
import { blocktrash, fuzz } from './fuzz.ts'
import { addr, bmap, daddr, forkBlock, fsblock, header, inode } from './locate.ts'
import { hash, ls, ncheck, parent, path } from './names.ts'
import { parseAddress, splitWords } from './numbers.ts'
import { print } from './print.ts'
import { type DbSession, Refusal, Unknown } from './session.ts'
import { agresv, dumpUnlinked, frag, freesp, fsmap } from './space.ts'
import { info, label, logformat, timelimit, uuid, version } from './superblocks.ts'
import { back, forward, ring, stack, type } from './travel.ts'
import { write } from './write.ts'

/** The commands of `db`: their names, arguments and help texts. */
interface DbCommand {
  readonly name: string
  readonly alias?: string
  /** Minimum and maximum number of arguments; `Infinity` for no maximum. */
  readonly words: readonly [number, number]
  /** `push` may run it. */
  readonly push?: boolean
  readonly usage?: string
  readonly what: string
  /** More text for `help NAME`. */
  readonly help?: string
  /** Only available with -x. */
  readonly expert?: boolean
  /** 'quit' ends the session. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a command may answer nothing
  readonly run: (session: DbSession, words: readonly string[]) => 'quit' | void
}

const modes = `  -c writes without a new checksum, which is then wrong.
  -d writes any value, with a correct checksum: the damage can only be found by its content.
  Without them a value that a verifier rejects is not written.
`

const commands: readonly DbCommand[] = [
  {
    name: 'ablock', words: [1, 1], push: true, usage: 'filoff', what: 'go to a block of the attribute fork',
    run: (session, words) => forkBlock(session, 'attr', words),
  },
  {
    name: 'addr', alias: 'a', words: [0, 1], push: true, usage: '[field-expression]', what: 'go to the target of a field, or show the current place',
    help: '  sb, then addr rootino: the root directory.   inode 131, then addr u3.bmx[0].startblock: its first extent.\n', run: addr,
  },
  { name: 'agf', words: [0, 1], push: true, usage: '[agno]', what: 'go to an AGF: the free space of an AG', run: (session, words) => header(session, 'agf', words) },
  { name: 'agfl', words: [0, 1], push: true, usage: '[agno]', what: 'go to an AGFL: blocks reserved for btrees', run: (session, words) => header(session, 'agfl', words) },
  { name: 'agi', words: [0, 1], push: true, usage: '[agno]', what: 'go to an AGI: the inodes of an AG', run: (session, words) => header(session, 'agi', words) },
  { name: 'back', alias: 'b', words: [0, 0], what: 'go to the previous place in the ring', run: back },
  { name: 'blockfree', words: [0, 0], what: 'no effect: see blockget', run: () => undefined },
  {
    name: 'blockget', words: [0, Infinity], usage: '[-s|-v] [-n] [-t] [-b bno]... [-i ino] ...', what: 'no effect: use xfskit check',
    run: ({ options }) => options.warn(`${options.program}: blockget has no effect: use xfskit check\n`),
  },
  {
    name: 'blocktrash', words: [0, Infinity], expert: true, usage: '[-n count] [-x minlen] [-y maxlen] [-s seed] [-0123] [-t type] ...',
    what: 'damage bits of this place (-z)', help: '  blocktrash -z -s 7 -x 1 -y 64 -3     -o BIT: the first bit         -0 -1 -2 -3: clear, set, flip, random\n', run: blocktrash,
  },
  { name: 'bmap', words: [0, 3], usage: '[-ad] [block [len]]', what: 'show the extents of the current inode', run: runBmap },
  {
    name: 'crc', words: [0, 1], usage: '[-i|-r|-v]', what: 'verify (-v), invalidate (-i) or recalculate (-r) the checksum', run: crc,
  },
  { name: 'daddr', words: [0, 1], push: true, usage: '[d]', what: 'go to an address in blocks of 512 bytes', run: daddr },
  {
    name: 'dblock', words: [1, 1], push: true, usage: 'filoff', what: 'go to a block of the data fork',
    run: (session, words) => forkBlock(session, 'data', words),
  },
  {
    name: 'describe', words: [0, 1], usage: '[struct]', what: 'show the layout of a structure, or list all structures',
    run: describeStructures,
  },
  { name: 'echo', words: [0, Infinity], usage: '[args]...', what: 'print the words', run: (session, words) => session.line(words.map((word) => `${word} `).join('')) },
  { name: 'forward', alias: 'f', words: [0, 0], what: 'go to the next place in the ring', run: forward },
  { name: 'fsblock', alias: 'fsb', words: [0, 1], push: true, usage: '[fsb]', what: 'go to a filesystem block', run: fsblock },
  {
    name: 'fuzz', words: [0, Infinity], expert: true, usage: '[-c] [-d] field fuzzcmd...', what: 'damage a field with a named method',
    help: `  fuzz -d core.size ones      zeroes, ones, firstbit, middlebit, lastbit, add, sub, random\n${modes}`, run: fuzz,
  },
  { name: 'help', alias: '?', words: [0, 1], usage: '[command]', what: 'help for one or all commands', run: help },
  { name: 'inode', words: [0, 1], push: true, usage: '[inode#]', what: 'go to an inode', run: inode },
  { name: 'pop', words: [0, 0], what: 'return to the place that was pushed last', run: (session) => session.pop() },
  { name: 'print', alias: 'p', words: [0, Infinity], usage: '[value]...', what: 'print all fields of this place, or the given ones', run: print },
  { name: 'push', words: [0, 2], usage: '[command]', what: 'save this place, and run a command that goes to another', run: push },
  { name: 'quit', alias: 'q', words: [0, 0], what: 'exit', run: () => 'quit' },
  { name: 'ring', words: [0, 1], usage: '', what: 'show the last places, or go to one of them', run: ring },
  { name: 'sb', words: [0, 1], push: true, usage: '[agno]', what: 'go to a superblock', run: (session, words) => header(session, 'sb', words) },
  { name: 'source', words: [1, 1], usage: 'source-file', what: 'run the commands in a file', run: source },
  { name: 'stack', words: [0, 0], what: 'show the pushed places', run: stack },
  { name: 'type', words: [0, 1], push: true, usage: '[newtype]', what: 'show this place as another type, or list the types', run: type },
  {
    name: 'write', words: [0, Infinity], expert: true, usage: '[-c|-d] [field or value]...', what: 'write a value',
    help: `  write core.uid 23         write fname "hello\\000"         write fname #6669736800
  write uuid 00112233-4455-6677-8899-aabbccddeeff          write -- core.size -1
  In type data: write fill 0xff, lshift 3, rshift, lrot, rrot, sequence 1 5, random; write alone lists them.
${modes}`, run: write,
  },
  { name: 'agresv', words: [0, Infinity], what: 'show the blocks that AGs reserve for btrees', run: agresv },
  {
    name: 'btdump', words: [0, 2], usage: '[-a] [-i]', what: 'print a tree from this block or inode down',
    help: '  -a: the attribute fork of an inode.   -i: nodes as well as leaves.\n', run: btdump,
  },
  {
    name: 'convert', words: [3, 9], usage: 'type num [type num]... type', what: 'convert from one form of address to another',
    help: '  convert ino 128 daddr     convert agno 1 agbno 5 fsblock\n', run: convert,
  },
  { name: 'dump_iunlinked', words: [0, Infinity], usage: '[-a agno] [-b bucket] [-q] [-v]', what: 'show the AGI unlinked lists', run: dumpUnlinked },
  { name: 'frag', words: [0, Infinity], usage: '[-a] [-d] [-f] [-l] [-q] [-R] [-r] [-v]', what: 'show file fragmentation', run: frag },
  {
    name: 'freesp', words: [0, Infinity], usage: '[-bcdfs] [-A alignment] [-a agno]... [-e binsize] [-h h1]... [-m binmult]',
    what: 'show a histogram of the free space', run: freesp,
  },
  { name: 'fsmap', words: [0, 2], usage: '[start_fsb] [end_fsb]', what: 'show the owners of blocks', run: fsmap },
  { name: 'hash', words: [1, Infinity], usage: 'string', what: 'show the hash of a name', run: hash },
  { name: 'info', alias: 'i', words: [0, 0], what: 'show geometry and features', run: info },
  {
    name: 'label', words: [0, 1], push: true, usage: '[label]', what: 'show or write the label',
    help: '  label       label backup       label --  (none)\n', run: label,
  },
  { name: 'logformat', words: [0, 4], expert: true, usage: '[-c cycle] [-s sunit]', what: 'format the log', run: logformat },
  { name: 'ls', alias: 'l', words: [0, Infinity], usage: '[-i] [paths...]', what: 'list directories', run: ls },
  { name: 'ncheck', words: [0, Infinity], usage: '[-s] [-i ino] ...', what: 'show a path for every inode', run: ncheck },
  { name: 'parent', words: [0, Infinity], usage: '[paths...]', what: 'show parent pointers', run: parent },
  { name: 'path', words: [1, 1], usage: '', what: 'go to the inode of a path', run: path },
  { name: 'timelimit', words: [0, Infinity], usage: '[--classic|--bigtime] [--pretty]', what: 'show the limits of timestamps', run: timelimit },
  {
    name: 'uuid', words: [0, 1], push: true, usage: '[uuid]', what: 'show or write the UUID',
    help: '  uuid 00112233-4455-6677-8899-aabbccddeeff, generate, nil, rewrite, restore (that of the metadata)\n', run: uuid,
  },
  { name: 'version', words: [0, Infinity], push: true, usage: '[feature | [vnum fnum]]', what: 'show the features', run: version },
] // biome-ignore format: a table

/** The commands of a session. */
export function commandsOf({ geometry, options }: DbSession): readonly DbCommand[] {
  return commands.filter(
    ({ name, expert }) => (expert !== true || options.expert) && (name !== 'crc' || geometry.features.version === 5),
  )
}

const find = (session: DbSession, word: string): DbCommand | undefined =>
  commandsOf(session).find(({ name, alias }) => name === word || alias === word)

/** Run one line. The message of a refused command is its output. */
export function runLine(session: DbSession, line: string): 'quit' | undefined {
  const [word, ...words] = splitWords(line)
  if (word === undefined) return undefined
  const answer = run(session, word, words)
  if (session.options.json) session.answer(line)
  return answer
}

function run(session: DbSession, word: string, words: readonly string[]): 'quit' | undefined {
  try {
    const command = find(session, word)
    if (!command) throw new Unknown(`command ${word} not found`)
    const [least, most] = command.words
    if (words.length < least || words.length > most) {
      const expected =
        most === Infinity ? `at least ${least}` : least === most ? `${least}` : `between ${least} and ${most}`
      throw new Unknown(`bad argument count ${words.length} to ${word}, expected ${expected} arguments`)
    }
    return command.run(session, words) ?? undefined
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    if (error instanceof Unknown) session.misused = true
    if (session.options.json) session.refused = error.message
    else session.line(error.message)
    return undefined
  }
}

function help(session: DbSession, words: readonly string[]): void {
  const [word] = words
  const line = (name: string, { usage, what }: DbCommand): void =>
    session.line(`${name} ${usage === undefined ? '' : `${usage} `}-- ${what}`)
  if (word === undefined) {
    for (const command of [...commandsOf(session)].sort((a, b) => (a.name < b.name ? -1 : 1)))
      line(command.name, command)
    session.line("\nUse 'help commandname' for extended help.")
    return
  }
  const command = find(session, word)
  if (!command) throw new Unknown(`command ${word} not found`)
  line(word, command)
  if (command.help) session.print(`\n${command.help}\n`)
}

function describeStructures(session: DbSession, [name]: readonly string[]): void {
  const { json } = session.options
  const text = describe(name, json)
  if (json) session.document(text.trimEnd())
  else session.print(text)
}

function push(session: DbSession, words: readonly string[]): 'quit' | undefined {
  const [word, ...rest] = words
  if (word !== undefined) {
    const command = find(session, word)
    if (!command) throw new Unknown(`no such command ${word}`)
    if (command.push !== true) throw new Unknown(`no push form allowed for ${word}`)
  }
  session.pushHere()
  return word === undefined ? undefined : run(session, word, rest)
}

function source(session: DbSession, words: readonly string[]): 'quit' | undefined {
  const lines = session.options.lines(words[0] as string)
  if (!lines) throw new Refusal(`can't open ${words[0]}`)
  for (const line of lines) if (runLine(session, line) === 'quit') break
  return undefined
}

function runBmap(session: DbSession, words: readonly string[]): void {
  const { letters, operands, faults } = getopt(words, 'ad')
  if (session.here.ino < 0) throw new Refusal('no current inode')
  if (faults.length > 0) throw new Refusal('bad option for bmap command')
  const forks: Fork[] = []
  if (letters.size === 0) forks.push(...mappedForks(session))
  if (letters.has('d')) forks.push('data')
  if (letters.has('a')) forks.push('attr')
  const [block, length] = operands
  const start = block === undefined ? 0 : parseAddress(block)
  if (start === undefined) throw new Refusal(`bad block number for bmap ${block}`)
  const count = length === undefined ? (block === undefined ? Infinity : 1) : parseAddress(length)
  if (count === undefined) throw new Refusal(`bad len for bmap ${length}`)
  bmap(session, forks, start, count)
}
