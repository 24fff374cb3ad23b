import { DIFLAGS, FILE_TYPES } from '../../format/dinode.ts'
import { Superblock } from '../../format/sb.ts'
import type { Timestamp } from '../../format/time.ts'
import { allocatedInodes } from '../../inode/chunks.ts'
import { deviceNumber, type Inode } from '../../inode/inode.ts'
import { statfsOf } from '../../inode/statfs.ts'
import { freeForUsers } from '../../space/reserve.ts'
import { parseInteger } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import { flagsText, type IoCommand, type IoSession } from '../session.ts'
import { flagLetters, flagNames, listedExtents, xflagsOf } from '../xflags.ts'

/** Details of a file, and of its filesystem. */

const BASIC = 512
const PAGE = 4096
const INT_MAX = 0x7fffffff

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [FILE_TYPES.sock]: 'socket',
  [FILE_TYPES.dir]: 'directory',
  [FILE_TYPES.chr]: 'char device',
  [FILE_TYPES.blk]: 'block device',
  [FILE_TYPES.reg]: 'regular file',
  [FILE_TYPES.lnk]: 'symbolic link',
  [FILE_TYPES.fifo]: 'fifo',
}

/** A value by its name, and its line if that is not `NAME = VALUE`. */
type StatField = readonly [name: string, value: string | number | bigint, line?: string]

const hexField = (name: string, value: number): StatField => [name, value, `${name} = 0x${value.toString(16)}`]

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** As ctime(3) formats it, in local time. */
function timeLine({ seconds }: Timestamp): string {
  const date = new Date(Number(seconds) * 1000)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = String(date.getDate()).padStart(2)
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${day} ${time} ${date.getFullYear()}`
}

const blocks512 = (inode: Inode): number => inode.nblocks * (inode.volume.geometry.blocksize / BASIC)

const deviceOf = (inode: Inode): { major: number; minor: number } =>
  inode.type === FILE_TYPES.chr || inode.type === FILE_TYPES.blk ? deviceNumber(inode) : { major: 0, minor: 0 }

function times(inode: Inode, names: readonly ('atime' | 'btime' | 'ctime' | 'mtime')[]): StatField[] {
  return names.flatMap((name) => {
    const time = name === 'btime' ? inode.crtime : inode[name]
    if (!time) return []
    return [
      [`stat.${name}.tv_sec`, time.seconds],
      [`stat.${name}.tv_nsec`, time.nanoseconds],
    ] as StatField[]
  })
}

const show = (session: IoSession, kind: string, fields: readonly StatField[]): void =>
  session.result(
    kind,
    { fields: Object.fromEntries(fields) },
    fields.map(([name, value, line = `${name} = ${value}`]) => line).join('\n'),
  )

/** The first lines of stat and statx. */
function common(session: IoSession, inode: Inode): StatField[] {
  const { name, flags } = session.file
  return [
    ['fd.path', name, `fd.path = "${name}"`],
    ['fd.flags', flagsText(flags)],
    ['stat.ino', inode.ino],
    ['stat.type', TYPE_NAMES[inode.type] ?? '(null)'],
    ['stat.size', inode.size],
    ['stat.blocks', blocks512(inode)],
  ]
}

/** Lines of the raw forms of stat and statx. */
const identity = (inode: Inode): StatField[] => [
  ['stat.nlink', inode.nlink],
  ['stat.uid', inode.uid],
  ['stat.gid', inode.gid],
  ['stat.mode', `0${inode.mode.toString(8)}`, `stat.mode: 0${inode.mode.toString(8)}`],
  ['stat.ino', inode.ino],
  ['stat.size', inode.size],
  ['stat.blocks', blocks512(inode)],
]

/** The lines that XFS adds; none for a file opened as a path only. */
function extra(session: IoSession, inode: Inode, verbose: boolean): StatField[] {
  if (session.file.flags.path) {
    session.complain(`FS_IOC_FSGETXATTR: ${new CallError('BADF').message}\n`)
    return []
  }
  const { blocksize, sectsize } = inode.volume.geometry
  const xflags = xflagsOf(inode)
  const least = !inode.isRegular ? 0 : inode.reflink ? blocksize : sectsize
  return [
    [
      'fsxattr.xflags',
      xflags,
      `fsxattr.xflags = 0x${xflags.toString(16)} [${verbose ? flagNames(xflags) : flagLetters(xflags)}]`,
    ],
    ['fsxattr.projid', inode.projid],
    ['fsxattr.extsize', inode.extsize * blocksize],
    ['fsxattr.cowextsize', inode.cowextsize * blocksize],
    ['fsxattr.nextents', listedExtents(inode, 'data')],
    ['fsxattr.naextents', listedExtents(inode, 'attr')],
    hexField('dioattr.mem', inode.isRegular ? sectsize : 0),
    ['dioattr.miniosz', least],
    ['dioattr.maxiosz', least === 0 ? 0 : INT_MAX - (INT_MAX % least)],
  ]
}

export const stat: IoCommand = {
  name: 'stat',
  args: '[-v|-r]',
  describe: 'statistics on the currently open file',
  least: 0,
  most: 1,
  readOnly: true,
  run(session, argv) {
    const { letters, faults } = session.options(argv, 'rv')
    if (faults.length > 0) {
      session.usage(stat)
      return
    }
    const inode = session.inode()
    if (letters.has('r')) {
      const { major, minor } = deviceOf(inode)
      show(session, 'stat', [
        ['stat.blksize', Math.max(PAGE, inode.volume.geometry.blocksize)],
        ...identity(inode),
        ...times(inode, ['atime', 'ctime', 'mtime']),
        ['stat.rdev_major', major],
        ['stat.rdev_minor', minor],
        ['stat.dev_major', 0],
        ['stat.dev_minor', 0],
      ])
      return
    }
    const named = (['atime', 'mtime', 'ctime'] as const).map(
      (name): StatField => [`stat.${name}`, timeLine(inode[name])],
    )
    show(session, 'stat', [
      ...common(session, inode),
      ...(letters.has('v') ? named : []),
      ...extra(session, inode, letters.has('v')),
    ])
  },
}

/** Bits of statx. */
const STATX = {
  type: 0x1, mode: 0x2, nlink: 0x4, uid: 0x8, gid: 0x10, atime: 0x20, mtime: 0x40, ctime: 0x80, ino: 0x100, size: 0x200,
  blocks: 0x400, btime: 0x800, mnt_id: 0x1000, dioalign: 0x2000, mnt_id_unique: 0x4000, subvol: 0x8000, write_atomic: 0x10000,
  dio_read_align: 0x20000, basic: 0x7ff, all: 0xfff,
} as const // biome-ignore format: a table
const STATX_ATTRIBUTES = { immutable: 0x10, append: 0x20, nodump: 0x40 } as const
const STATX_ATTRIBUTES_MASK = 0x203070

/** A mask by name or number, alone or added to (+) or removed from (-) the previous one. */
function maskFrom(text: string, before: number): number | undefined {
  const sign = text.startsWith('+') || text.startsWith('-') ? text[0] : ''
  const word = text.slice(sign === '' ? 0 : 1)
  const named = (STATX as Readonly<Record<string, number>>)[word]
  const parsed = named ?? Number(parseInteger(word)?.value ?? Number.NaN)
  if (Number.isNaN(parsed)) return undefined
  return sign === '+' ? before | parsed : sign === '-' ? before & ~parsed : parsed
}

const statx: IoCommand = {
  name: 'statx',
  args: '[-v|-r][-m basic | -m all | -m <mask>][-FD]',
  describe: 'extended statistics on the currently open file',
  help: `
 -v       times and names of flags, too
 -r       the fields of struct statx
 -m mask  which of them: a number, or basic, all, ${Object.keys(STATX).slice(0, 18).join(', ')};
          +mask and -mask add and remove
 -D, -F   no effect here

`,
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { letters, faults } = session.options(argv, 'm:rvFD')
    if (faults.length > 0) {
      session.usage(statx)
      return
    }
    let mask: number = STATX.all
    for (const value of letters.get('m') ?? []) {
      const next = maskFrom(value, mask)
      if (next === undefined) {
        session.print(`non-numeric mask -- ${value}\n`)
        session.exitCode = 1
        return
      }
      mask = next
    }
    if (letters.has('r') && letters.has('v')) {
      session.usage(statx, false)
      return
    }
    const inode = session.inode()
    session.exitCode = 0
    if (letters.has('r')) {
      show(session, 'stat', rawStatx(inode, mask))
      return
    }
    const named = (['atime', 'mtime', 'ctime'] as const).map(
      (name): StatField => [`stat.${name}`, timeLine(inode[name])],
    )
    if (inode.crtime && (mask & STATX.btime) !== 0) named.push(['stat.btime', timeLine(inode.crtime)])
    show(session, 'stat', [
      ...common(session, inode),
      ...(letters.has('v') ? named : []),
      ...extra(session, inode, letters.has('v')),
    ])
  },
}

function rawStatx(inode: Inode, mask: number): StatField[] {
  const { major, minor } = deviceOf(inode)
  const { flags } = inode
  const attributes =
    ((flags & DIFLAGS.immutable) !== 0 ? STATX_ATTRIBUTES.immutable : 0) |
    ((flags & DIFLAGS.append) !== 0 ? STATX_ATTRIBUTES.append : 0) |
    ((flags & DIFLAGS.nodump) !== 0 ? STATX_ATTRIBUTES.nodump : 0)
  const given = STATX.basic | STATX.mnt_id | (mask & (STATX.btime | STATX.dioalign | STATX.dio_read_align))
  const aligned = inode.isRegular && (mask & (STATX.dioalign | STATX.dio_read_align)) !== 0
  const { blocksize, sectsize } = inode.volume.geometry
  return [
    hexField('stat.mask', given),
    ['stat.blksize', Math.max(PAGE, blocksize)],
    hexField('stat.attributes', attributes),
    ...identity(inode),
    hexField('stat.attributes_mask', STATX_ATTRIBUTES_MASK),
    ...times(inode, ['atime']),
    ...((mask & STATX.btime) !== 0
      ? times(inode, ['btime'])
      : ([
          ['stat.btime.tv_sec', 0],
          ['stat.btime.tv_nsec', 0],
        ] satisfies StatField[])),
    ...times(inode, ['ctime', 'mtime']),
    ['stat.rdev_major', major],
    ['stat.rdev_minor', minor],
    ['stat.dev_major', 0],
    ['stat.dev_minor', 0],
    hexField('stat.mnt_id', 0x0),
    ['stat.dio_mem_align', aligned ? sectsize : 0],
    ['stat.dio_offset_align', aligned ? (inode.reflink ? blocksize : sectsize) : 0],
    hexField('stat.subvol', 0x0),
    ['stat.atomic_write_unit_min', 0],
    ['stat.atomic_write_unit_max', 0],
    ['stat.atomic_write_segments_max', 0],
    ['stat.dio_read_offset_align', aligned && (mask & STATX.dio_read_align) !== 0 ? sectsize : 0],
    ['stat.atomic_write_unit_max_opt', 0],
  ]
}

const statfs: IoCommand = {
  name: 'statfs',
  args: '[-c] [-g] [-s]',
  describe: 'statistics on the filesystem of the currently open file',
  help: '\n -c  counts of free blocks and inodes\n -g  geometry\n -s  results of statfs(2)\n (all of them without options)\n\n',
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { letters, faults } = session.options(argv, 'cgs')
    if (faults.length > 0) {
      session.usage(statfs)
      return
    }
    const wants = (letter: string): boolean => letters.size === 0 || letters.has(letter)
    show(session, 'statfs', [
      ['fd.path', session.file.name, `fd.path = "${session.file.name}"`],
      ...(wants('s') ? statfsLines(session) : []),
      ...(wants('g') ? geometryLines(session) : []),
      ...(wants('c') ? countLines(session) : []),
    ])
  },
}

/**
 * Blocks that cannot be allocated even if nothing is reserved: the kernel keeps them in each AG for
 * the AGFL.
 */
const setAside = (session: IoSession): number => session.volume.geometry.agcount * 8

function statfsLines({ volume }: IoSession): StatField[] {
  const { bsize, blocks, bavail, files, ffree } = statfsOf(volume)
  return [
    ['statfs.f_bsize', bsize],
    ['statfs.f_blocks', blocks],
    ['statfs.f_bavail', bavail],
    ['statfs.f_files', files],
    ['statfs.f_ffree', ffree],
    hexField('statfs.f_flags', 0x1020),
  ]
}

function geometryLines({ volume: { geometry } }: IoSession): StatField[] {
  const { sb } = geometry
  return [
    ['geom.bsize', geometry.blocksize],
    ['geom.agcount', geometry.agcount],
    ['geom.agblocks', geometry.agblocks],
    ['geom.datablocks', sb.dblocks],
    ['geom.rtblocks', sb.rblocks],
    ['geom.rtextents', sb.rextents],
    ['geom.rtextsize', sb.rextsize],
    ['geom.sunit', sb.unit],
    ['geom.swidth', sb.width],
    ['geom.rgextents', 0],
    ['geom.rgcount', 0],
    ['geom.rtstart', 0],
    ['geom.rtreserved', 0],
  ]
}

function countLines(session: IoSession): StatField[] {
  const { volume } = session
  const { view } = volume.superblock()
  const fields = Superblock.fields
  return [
    ['counts.freedata', Math.max(0, freeForUsers(volume) + setAside(session))],
    ['counts.freertx', volume.geometry.sb.frextents],
    ['counts.freeino', fields.ifree.get(view, 0)],
    ['counts.allocino', fields.icount.get(view, 0)],
  ]
}

const inode: IoCommand = {
  name: 'inode',
  args: '[-nv] [num]',
  describe: 'Query inode number usage in the filesystem',
  help: `
 Without a number: 1 if there is an inode whose number needs more than 32 bits, else 0.
 num     the number if that inode is in use, else the next one in use, or 0
 -n num  the next inode in use after num, or 0
 -v      with the size of the number in bits

`,
  least: 0,
  most: 3,
  once: true,
  readOnly: true,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'nv')
    const next = letters.has('n')
    const verbose = letters.has('v')
    const [word] = operands
    const wrong = faults.length > 0 || operands.length > 1 || (next && word === undefined)
    const number = word === undefined ? undefined : /^[0-9]+$/.test(word) ? Number(word) : Number.NaN
    if (number !== undefined && Number.isNaN(number)) {
      session.print(`${word} is not a numeric inode value\n`)
      session.exitCode = 1
      return
    }
    if (wrong) {
      session.usage(inode)
      return
    }
    const result = number === undefined ? lastInode(session) : nextInode(session, next ? number + 1 : number)
    const large = result >= 2 ** 32
    const answer = number === undefined ? (large ? 1 : 0) : result
    const text = verbose && result !== 0 ? `${result}:${large ? 64 : 32}` : String(answer)
    session.result('inode', { ino: result === 0 ? null : result, bits: large ? 64 : 32 }, text)
  },
}

function lastInode({ volume }: IoSession): number {
  let last = 0
  for (let agno = volume.geometry.agcount - 1; agno >= 0 && last === 0; agno--) {
    for (const ino of allocatedInodes(volume, agno)) last = ino
  }
  return last
}

/** The first inode in use with number `from` or more; 0 if there is none. */
function nextInode({ volume }: IoSession, from: number): number {
  const { geometry } = volume
  for (let agno = Math.min(geometry.inoAgno(from), geometry.agcount); agno < geometry.agcount; agno++) {
    for (const ino of allocatedInodes(volume, agno)) if (ino >= from) return ino
  }
  return 0
}

export const statusCommands: readonly IoCommand[] = [stat, statx, statfs, inode]
