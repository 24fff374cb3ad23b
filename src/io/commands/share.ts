import { openInode } from '../../inode/inode.ts'
import { commonGap, DEDUPE_MAX, dedupe } from '../../reflink/dedupe.ts'
import { reflink } from '../../reflink/reflink.ts'
import { add, type Bytes, subtract, unitsFor } from '../../util/bytes.ts'
import { finish } from '../../util/progress.ts'
import { CallError } from '../errno.ts'
import type { IoCommand, IoSession } from '../session.ts'
import { otherFile } from './files.ts'

/** Sharing blocks: FICLONE, FICLONERANGE, FIDEDUPERANGE. */

interface Range {
  readonly srcOffset: Bytes
  readonly dstOffset: Bytes
  readonly length: Bytes
}

/** Three numbers, or undefined after a message. */
function rangeOf(session: IoSession, words: readonly string[]): Range | undefined {
  const number = (word: string, message: string): Bytes | undefined => {
    const value = session.bytes(word)
    if (value >= 0) return value
    session.print(`${message} -- ${word}\n`)
    session.exitCode = 1
    return undefined
  }
  const srcOffset = number(words[0] as string, 'non-numeric src offset argument')
  if (srcOffset === undefined) return undefined
  const dstOffset = number(words[1] as string, 'non-numeric dest offset argument')
  if (dstOffset === undefined) return undefined
  const length = number(words[2] as string, 'non-positive length argument')
  return length === undefined ? undefined : { srcOffset, dstOffset, length }
}

const link: IoCommand = {
  name: 'reflink',
  alias: 'rl',
  args: 'infile [src_off dst_off len]',
  describe: 'reflinks an entire file, or a number of bytes at a specified offset',
  help: `
 Lets the open file share blocks of infile: all of them, or a range of whole blocks (len 0: to the end of infile).
 The old blocks of the open file are unmapped. A later write to either file does not change the other.
 -q  print nothing

`,
  least: 1,
  once: true,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'Cq')
    const [path, ...numbers] = operands
    if (faults.length > 0 || path === undefined || (numbers.length !== 3 && numbers.length !== 0)) {
      session.usage(link)
      return
    }
    const range = numbers.length === 0 ? { srcOffset: 0, dstOffset: 0, length: 0 } : rangeOf(session, numbers)
    if (!range) return
    const source = otherFile(session, path)
    if (source === undefined) return
    const start = session.clock()
    const whole = range.srcOffset === 0 && range.dstOffset === 0 && range.length === 0
    const message = session.failure(() => {
      const { file } = session
      if (openInode(session.volume, source).isDirectory || session.inode().isDirectory) throw new CallError('ISDIR')
      session.writable()
      if (file.flags.append) throw new CallError('BADF')
      finish(reflink(session.volume, source, file.ino, range))
    })
    if (message !== undefined) {
      session.complain(`${whole ? 'XFS_IOC_CLONE' : 'XFS_IOC_CLONE_RANGE'}: ${message}\n`)
      return
    }
    if (letters.has('q')) return
    const { dstOffset: offset, length } = range
    const condensed = letters.has('C')
    session.report('linked', start, { offset, count: length, total: length, ops: 1 }, condensed)
  },
}

const same: IoCommand = {
  name: 'dedupe',
  alias: 'dd',
  args: 'infile src_off dst_off len',
  describe: 'dedupes a number of bytes at a specified offset',
  help: `
 Lets the open file share blocks of infile if both ranges hold the same bytes; otherwise nothing changes.
 -q  print nothing

`,
  least: 4,
  once: true,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'Cq')
    const [path, ...numbers] = operands
    if (faults.length > 0 || path === undefined || numbers.length !== 3) {
      session.usage(same)
      return
    }
    const range = rangeOf(session, numbers)
    if (!range) return
    const source = otherFile(session, path)
    if (source === undefined) return
    const start = session.clock()
    const { total, ops } = dedupeCalls(session, source, range)
    if (ops === 0 || letters.has('q')) return
    const condensed = letters.has('C')
    session.report('deduped', start, { offset: range.dstOffset, count: range.length, total, ops }, condensed)
  },
}

/** Make one call after the other until everything is deduped, or a call fails. */
function dedupeCalls(session: IoSession, source: number, range: Range): { total: Bytes; ops: number } {
  let total: Bytes = 0
  let ops = 0
  while (total < range.length || ops === 0) {
    const part = {
      srcOffset: add(range.srcOffset, total),
      dstOffset: add(range.dstOffset, total),
      length: subtract(range.length, total),
    }
    let bytes: Bytes = 0
    let differs = false
    const message = session.failure(() => {
      if (!session.volume.writable) throw new CallError('ROFS')
      const result = finish(dedupe(session.volume, source, session.file.ino, part))
      bytes = result.bytes
      differs = !result.same
    })
    if (message !== undefined || differs) {
      session.complain(`XFS_IOC_FILE_EXTENT_SAME: ${message ?? 'Extents did not match.'}\n`)
      // A fault of the source ends the call; a fault of the destination is a result.
      const inode = openInode(session.volume, source)
      if (message !== undefined && (!inode.isRegular || add(part.srcOffset, part.length) > inode.size))
        session.exitCode = 1
      break
    }
    if (part.length > 0 && bytes === 0) break
    ops++
    total = add(total, bytes)
    const gap = commonGap(session.volume, source, session.file.ino, range, total)
    ops += unitsFor(gap, DEDUPE_MAX)
    total = add(total, gap)
  }
  return { total, ops }
}

export const shareCommands: readonly IoCommand[] = [link, same]
