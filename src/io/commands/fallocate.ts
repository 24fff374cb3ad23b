import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../../data/fallocate.ts'
import { unshare } from '../../reflink/unshare.ts'
import type { Bytes } from '../../util/bytes.ts'
import { finish } from '../../util/progress.ts'
import type { Volume } from '../../volume.ts'
import { CallError } from '../errno.ts'
import type { IoCommand, IoSession } from '../session.ts'

/** Allocating and freeing blocks of files: truncate(2) and fallocate(2). */

type RangeChange = (volume: Volume, ino: number, offset: Bytes, length: Bytes) => void

const changes = {
  allocate: (volume, ino, offset, length) => falloc(volume, ino, offset, length),
  keep: (volume, ino, offset, length) => falloc(volume, ino, offset, length, { keepSize: true }),
  punch: (volume, ino, offset, length) => fpunch(volume, ino, offset, length),
  collapse: (volume, ino, offset, length) => fcollapse(volume, ino, offset, length),
  insert: (volume, ino, offset, length) => finsert(volume, ino, offset, length),
  zero: (volume, ino, offset, length) => fzero(volume, ino, offset, length),
  zeroKeep: (volume, ino, offset, length) => fzero(volume, ino, offset, length, { keepSize: true }),
  unshare: (volume, ino, offset, length) => void finish(unshare(volume, ino, { offset, length })),
} as const satisfies Record<string, RangeChange>

/** The two numbers, or undefined after a message. */
function range(session: IoSession, from: string, howMany: string): { offset: Bytes; length: Bytes } | undefined {
  const offset = session.number(from, 'offset argument')
  const length = offset === undefined ? undefined : session.number(howMany, 'length argument')
  return offset === undefined || length === undefined ? undefined : { offset, length }
}

/**
 * fallocate(2): the kernel checks the descriptor first, then the numbers, then the type of the
 * file.
 */
function change(
  session: IoSession,
  label: string,
  action: RangeChange,
  { offset, length }: { offset: Bytes; length: Bytes },
): boolean {
  return session.attempt(label, () => {
    const inode = session.writable()
    if (length <= 0) throw new CallError('INVAL')
    if (inode.isDirectory) throw new CallError('ISDIR')
    action(session.volume, inode.ino, offset, length)
  })
}

/** A command with only two numbers. */
const simple = (name: string, describe: string, label: string, action: RangeChange): IoCommand => ({
  name,
  args: 'off len',
  describe,
  least: 2,
  most: 2,
  run(session, [, from, howMany]) {
    const wanted = range(session, from as string, howMany as string)
    if (wanted) change(session, label, action, wanted)
  },
})

/** Calls that kernels have removed in 5.17. */
const withdrawn = (name: string, describe: string, label: string): IoCommand => ({
  name,
  args: 'off len',
  describe,
  least: 2,
  most: 2,
  run(session, [, from, howMany]) {
    if (!range(session, from as string, howMany as string)) return
    session.fail(`${label}: ${new CallError('NOTTY').message}\n`)
  },
})

const FALLOC_MODES: Readonly<Record<string, keyof typeof changes>> = {
  c: 'collapse', i: 'insert', k: 'keep', p: 'punch', u: 'unshare',
} // biome-ignore format: a table

const fallocate: IoCommand = {
  name: 'falloc',
  args: '[-c] [-k] [-p] [-u] off len',
  describe: 'allocates space associated with part of a file via fallocate',
  help: `
 Allocates blocks for holes, which read as zeros. Instead, with
 -c  remove the range from the file      -i  insert a hole at off
 -k  the same, but keep the size         -p  make the range a hole
 -u  give the file its own copy of shared blocks

`,
  least: 2,
  run(session, argv) {
    const { options, operands } = session.options(argv, 'cikpu')
    let mode: keyof typeof changes = 'allocate'
    for (const { letter } of options) {
      const wanted = FALLOC_MODES[letter]
      if (wanted === undefined) session.usage(fallocate)
      else mode = wanted
    }
    const [from, howMany] = operands
    if (from === undefined || howMany === undefined || operands.length !== 2) {
      session.usage(fallocate)
      return
    }
    const wanted = range(session, from, howMany)
    if (wanted) change(session, 'fallocate', changes[mode], wanted)
  },
}

const zero: IoCommand = {
  name: 'fzero',
  args: '[-k] off len',
  describe: 'zeroes space and eliminates holes by preallocating',
  help: '\n -k  keep the size of the file\n\n',
  least: 2,
  most: 3,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'k')
    if (faults.length > 0) session.usage(zero, false)
    const [from, howMany] = operands
    if (from === undefined || howMany === undefined || operands.length !== 2) {
      session.usage(zero, false)
      return
    }
    const keep = letters.has('k')
    // This command does not change the exit status.
    const status = session.exitCode
    const wanted = range(session, from, howMany)
    if (wanted) change(session, 'fallocate', keep ? changes.zeroKeep : changes.zero, wanted)
    session.exitCode = status
  },
}

const cut: IoCommand = {
  name: 'truncate',
  alias: 't',
  args: 'off',
  describe: 'truncates the current file at the given offset',
  least: 1,
  most: 1,
  run(session, [, word]) {
    const size = session.number(word as string, 'truncate argument')
    if (size === undefined) return
    session.attempt('ftruncate', () => {
      if (!session.volume.writable) throw new CallError('ROFS')
      const inode = session.inode()
      if (!session.file.writable || !inode.isRegular) throw new CallError('INVAL')
      truncate(session.volume, inode.ino, size)
    })
  },
}

export const spaceCommands: readonly IoCommand[] = [
  cut,
  fallocate,
  zero,
  simple('fpunch', 'de-allocates space associated with part of a file via fallocate', 'fallocate', changes.punch),
  simple('fcollapse', 'de-allocates space and eliminates the hole by shifting extents', 'fallocate', changes.collapse),
  simple('finsert', 'creates new space for writing within file by shifting extents', 'fallocate', changes.insert),
  simple('funshare', 'unshares shared blocks within the range', 'fallocate', changes.unshare),
  simple('resvsp', 'reserves space associated with part of a file', 'XFS_IOC_RESVSP64', changes.keep),
  simple('unresvsp', 'frees reserved space associated with part of a file', 'XFS_IOC_UNRESVSP64', changes.punch),
  simple('zero', 'Converts the given range of a file to allocated zeros', 'XFS_IOC_ZERO_RANGE', changes.zeroKeep),
  withdrawn('allocsp', 'allocates zeroed space for part of a file', 'XFS_IOC_ALLOCSP64'),
  withdrawn('freesp', 'frees space associated with part of a file', 'XFS_IOC_FREESP64'),
]
