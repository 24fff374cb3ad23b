import { type FlagChanges, setAttributesIn } from '../../attr/setattr.ts'
import { entries } from '../../dir/dir.ts'
import { AG_SECTORS } from '../../format/ag.ts'
import { Superblock } from '../../format/sb.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import { type Inode, openInode } from '../../inode/inode.ts'
import { withTransaction } from '../../tx/transaction.ts'
import { escapeBytes, unescapeBytes } from '../../util/escape.ts'
import { parseInteger } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import type { IoCommand, IoSession } from '../session.ts'
import { allFlagLetters, flagLetters, flagList, flagNames, xflagsOf } from '../xflags.ts'

/**
 * Flags, hints and project ID of the open file, or of everything below it; the filesystem's label.
 */

const RECURSIVE = `
 -R  everything below it, too
 -D  all directories below it, too
`

/** Everything below a directory and the directory itself, entries first, with their paths. */
function* below(inode: Inode, path: string): Generator<{ inode: Inode; path: string }> {
  if (inode.isDirectory) {
    const prefix = path.endsWith('/') ? path : `${path}/`
    for (const { name, ino } of entries(inode))
      yield* below(openInode(inode.volume, ino), `${prefix}${escapeBytes(name)}`)
  }
  yield { inode, path }
}

/**
 * Do it for the open file or, recursively, for everything below it. Special files and links are
 * skipped, because they cannot be opened.
 */
function eachFile(
  session: IoSession,
  scope: 'one' | 'all' | 'directories',
  action: (inode: Inode, path: string) => void,
): void {
  const { name } = session.file
  if (scope === 'one') {
    action(session.inode(), name)
    return
  }
  for (const { inode, path } of [...below(session.inode(), name)]) {
    if (inode.isDirectory || (scope === 'all' && inode.isRegular)) action(inode, path)
  }
}

type Scope = 'one' | 'all' | 'directories'

/** The options -D and -R of a command. @returns undefined after a message */
function scopeOf(session: IoSession, command: IoCommand, letters: { has(letter: string): boolean }): Scope | undefined {
  if (letters.has('?')) {
    session.usage(command)
    return undefined
  }
  if (letters.has('R') && letters.has('D')) {
    session.fail(`${session.program}: -R and -D options are mutually exclusive\n`)
    return undefined
  }
  return letters.has('R') ? 'all' : letters.has('D') ? 'directories' : 'one'
}

/** As FSSETXATTR does it. @throws CallError, XfsError */
function change({ volume }: IoSession, { ino }: Inode, changes: FlagChanges): void {
  if (!volume.writable) throw new CallError('ROFS')
  withTransaction(volume, (tx) => setAttributesIn(tx, openInode(volume, ino, tx), changes))
}

/** A flag that is shown, and cannot be changed. */
const HAS_XATTR = 'X'

const lsattr: IoCommand = {
  name: 'lsattr',
  args: '[-R|-D|-a|-v]',
  describe: 'list extended inode flags set on the currently open file',
  help: `
 One letter for each flag that is set, in the order ${allFlagLetters}.
${RECURSIVE} -a  with the letters of all flags
 -v  names, not letters

`,
  least: 0,
  most: 1,
  readOnly: true,
  run(session, argv) {
    const { letters } = session.options(argv, 'DRav')
    const scope = scopeOf(session, lsattr, letters)
    if (scope === undefined) return
    eachFile(session, scope, (inode, path) => {
      const xflags = xflagsOf(inode)
      const shown = scope === 'one' && letters.has('v') ? `[${flagNames(xflags)}]` : flagLetters(xflags)
      const all = scope === 'one' && letters.has('a') ? `/${allFlagLetters}` : ''
      session.result('flags', { path, xflags, flags: flagList(xflags) }, `${shown}${all} ${path} `)
    })
  },
}

const chattr: IoCommand = {
  name: 'chattr',
  args: '[-R|-D] [+/-riasAdtPneEfSxC]',
  describe: 'change extended inode flags on the currently open file',
  help: `
 +letters set flags, -letters clear them: r realtime, i immutable, a append-only, s sync, A no-atime, d no-dump,
 t rt-inherit, P proj-inherit, n nosymlinks, e extsize, E extsz-inherit, f no-defrag, S filestream, x dax, C cowextsize
${RECURSIVE}
`,
  least: 1,
  run(session, argv) {
    let set = ''
    let clear = ''
    const letters = new Set<string>()
    for (const word of argv.slice(1)) {
      const sign = word[0]
      if (word.startsWith('-R') || word.startsWith('-D')) {
        letters.add(word[1] as string)
        continue
      }
      if (sign !== '+' && sign !== '-') {
        session.fail(`${session.program}: bad chattr command, not +/-X\n`)
        return
      }
      for (const letter of word.slice(1)) {
        if (!allFlagLetters.includes(letter)) {
          session.fail(`${session.program}: unknown flag\n`)
          return
        }
        if (letter === HAS_XATTR) continue
        if (sign === '+') set += letter
        else clear += letter
      }
    }
    const scope = scopeOf(session, chattr, letters)
    if (scope === undefined) return
    eachFile(session, scope, (inode, path) => {
      const message = session.failure(() => change(session, inode, { set, clear }))
      if (message !== undefined) session.fail(`${session.program}: cannot set flags on ${path}: ${message}\n`)
    })
  },
}

const lsproj: IoCommand = {
  name: 'lsproj',
  args: '[-D | -R]',
  describe: 'list project identifier set on the currently open file',
  help: `${RECURSIVE}\n`,
  least: 0,
  most: 1,
  readOnly: true,
  run(session, argv) {
    const { letters, operands } = session.options(argv, 'DR')
    if (operands.length > 0) {
      session.usage(lsproj)
      return
    }
    const scope = scopeOf(session, lsproj, letters)
    if (scope === undefined) return
    eachFile(session, scope, (inode, path) => {
      const { projid } = inode
      session.result('project', { path, projid }, scope === 'one' ? `projid = ${projid}` : `[${projid}] ${path}`)
    })
  },
}

const chproj: IoCommand = {
  name: 'chproj',
  args: '[-D | -R] projid',
  describe: 'change project identifier on the currently open file',
  help: `${RECURSIVE}\n`,
  least: 1,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'DR')
    const [word] = operands
    if (word === undefined || operands.length !== 1 || faults.length > 0) {
      session.usage(chproj)
      return
    }
    const parsed = parseInteger(word, 10)
    if (parsed?.rest !== '' || parsed.value < 0n || parsed.value >= 0xffffffffn) {
      session.print(`invalid project ID -- ${word}\n`)
      session.exitCode = 1
      return
    }
    const scope = scopeOf(session, chproj, letters)
    if (scope === undefined) return
    eachFile(session, scope, (inode) => {
      session.attempt('setprojid', () => change(session, inode, { projid: Number(parsed.value) }))
    })
  },
}

/** extsize and cowextsize are almost equal. */
function hintCommand(name: 'extsize' | 'cowextsize', what: string, ioctl: string): IoCommand {
  const command: IoCommand = {
    name,
    args: `[-D | -R] [${name}]`,
    describe: `get/set preferred ${what} size (in bytes) for the open file`,
    help: `${RECURSIVE}\n`,
    least: 0,
    run(session, argv) {
      const { letters, operands, faults } = session.options(argv, 'DR')
      const [word] = operands
      if (faults.length > 0) {
        session.usage(command, name === 'extsize')
        return
      }
      const size = word === undefined ? undefined : session.number(word, `${name} argument`)
      if (word !== undefined && size === undefined) return
      const scope = scopeOf(session, command, letters)
      if (scope === undefined) return
      eachFile(session, scope, (inode, path) => {
        if (size === undefined) {
          const bytes = inode[name] * inode.volume.geometry.blocksize
          session.result(name, { path, bytes }, `[${bytes}] ${path}`)
          return
        }
        const message = session.failure(() => change(session, inode, { [name]: Number(size) }))
        if (message === undefined) return
        session.print(`${session.program}: ${ioctl} ${path}: ${message}\n`)
        session.exitCode = 1
      })
    },
  }
  return command
}

const label: IoCommand = {
  name: 'label',
  args: '[-s label|-c]',
  describe: 'query, set, or clear the filesystem label while mounted',
  help: '\n The label; with -s set it, with -c remove it.\n\n',
  least: 0,
  most: 3,
  run(session, argv) {
    const { options, operands, faults } = session.options(argv, 'cs:')
    if (operands.length > 0 || faults.length > 0) {
      session.usage(label, false)
      return
    }
    const last = options.at(-1)
    if (last) {
      const text = last.letter === 'c' ? '' : last.value
      if (!session.attempt('label', () => setLabel(session, text))) return
    }
    const text = labelOf(session)
    session.result('label', { label: text }, `label = "${text}"`)
  },
}

const MAX_LABEL = Superblock.fields.fname.size

/** The bytes of the label in a superblock. */
const labelBytes = (view: DataView): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + Superblock.fields.fname.offset, MAX_LABEL)

function labelOf({ volume }: IoSession): string {
  const bytes = labelBytes(volume.superblock().view)
  const end = bytes.indexOf(0)
  return escapeBytes(end < 0 ? bytes : bytes.subarray(0, end))
}

/**
 * Write a label into every superblock. The secondary superblocks are read if the primary is
 * damaged.
 */
function setLabel({ volume }: IoSession, text: string): void {
  if (!volume.writable) throw new CallError('ROFS')
  const label = unescapeBytes(text)
  if (label.length > MAX_LABEL) throw new CallError('INVAL')
  const { geometry } = volume
  for (let agno = 0; agno < geometry.agcount; ) {
    withTransaction(volume, (tx) => {
      do {
        const bytes = labelBytes(
          tx.edit(tx.read(blockTypes.sb, geometry.agHeaderDaddr(agno, AG_SECTORS.sb), geometry.sectsize)),
        )
        bytes.fill(0)
        bytes.set(label)
        agno++
      } while (agno < geometry.agcount && !tx.full)
    })
  }
}

export const attributeCommands: readonly IoCommand[] = [
  lsattr,
  chattr,
  lsproj,
  chproj,
  hintCommand('extsize', 'extent', 'FS_IOC_FSSETXATTR'),
  hintCommand('cowextsize', 'CoW extent', 'XFS_IOC_FSSETXATTR'),
  label,
]
