import { readFile } from '../../data/data.ts'
import { writeFile } from '../../data/write.ts'
import { XfsError } from '../../errors.ts'
import { reflink } from '../../reflink/reflink.ts'
import {
  add,
  type Bytes,
  capped,
  inUnit,
  least,
  MAX_FILE_SIZE,
  most,
  subtract,
  unitOf,
  unitStart,
} from '../../util/bytes.ts'
import { atoi } from '../../util/numbers.ts'
import { finish } from '../../util/progress.ts'
import { CallError } from '../errno.ts'
import { codeOf, type IoCommand, type IoSession, type OptionRows } from '../session.ts'
import { otherFile } from './files.ts'

const CHUNK = 2 ** 20

interface CopyRequest {
  srcOffset: Bytes
  dstOffset: Bytes
  /** Undefined: to EOF of the source. */
  length: Bytes | undefined
  /** The inode of an open file. */
  source: number | undefined
}

const copyOptions: OptionRows<CopyRequest> = {
  's:': (request, value, session) => {
    request.srcOffset = session.bytes(value)
    return request.srcOffset >= 0 || session.refuse(`invalid source offset -- ${value}`)
  },
  'd:': (request, value, session) => {
    request.dstOffset = session.bytes(value)
    return request.dstOffset >= 0 || session.refuse(`invalid destination offset -- ${value}`)
  },
  'l:': (request, value, session) => {
    request.length = session.bytes(value)
    return request.length !== -1 || session.refuse(`invalid length -- ${value}`)
  },
  'f:': (request, value, session) => {
    const number = atoi(value)
    request.source = session.files[number]?.ino
    if (request.source !== undefined) return true
    return session.refuse(`file value ${number} is out of range (0-${session.files.length - 1})`)
  },
}

export const copyRange: IoCommand = {
  name: 'copy_range',
  args: '[-s src_off] [-d dst_off] [-l len] src_file | -f N',
  describe: 'Copy a range of data between two files',
  help: `
 Copies from src_file, or from open file N, into the current file; without -l up to EOF of the source.
 If offsets are multiples of the block size, blocks are shared instead of copied, as in the kernel.

`,
  least: 1,
  most: 8,
  run(session, argv) {
    const request: CopyRequest = { srcOffset: 0, dstOffset: 0, length: undefined, source: undefined }
    const operands = session.take(copyRange, argv, copyOptions, request)
    if (operands === undefined) return
    const [path] = operands
    if (operands.length !== (request.source === undefined ? 1 : 0)) {
      session.usage(copyRange)
      return
    }
    const source = request.source ?? otherFile(session, path as string)
    if (source === undefined) return
    const message = session.failure(() => copy(session, source, request))
    if (message === undefined) return
    session.complain(`copy_range: ${message}\n`)
    // It returns an error number, which also ends the session.
    return true
  },
}

function copy(
  session: IoSession,
  source: number,
  request: Pick<CopyRequest, 'srcOffset' | 'dstOffset' | 'length'>,
): void {
  const { volume, file } = session
  const inode = session.inode({ ...file, ino: source })
  let { srcOffset, dstOffset } = request
  let left = request.length ?? most(0, subtract(inode.size, srcOffset))
  const dst = session.writable()
  if (inode.isDirectory || dst.isDirectory) throw new CallError('ISDIR')
  if (!inode.isRegular || !dst.isRegular) throw new CallError('INVAL')
  if (file.flags.append) throw new CallError('BADF')
  if (add(srcOffset, left) > MAX_FILE_SIZE) throw new XfsError('RANGE', 'offsets that cannot be added')
  left = least(left, most(0, subtract(inode.size, srcOffset)))
  if (source === file.ino && subtract(most(srcOffset, dstOffset), least(srcOffset, dstOffset)) < left)
    throw new CallError('INVAL')
  while (left > 0) {
    const shared = share(session, source, srcOffset, dstOffset, left)
    const done = shared > 0 ? shared : capped(left, CHUNK)
    if (shared === 0)
      writeFile(volume, file.ino, dstOffset, readFile(session.inode({ ...file, ino: source }), srcOffset, done))
    srcOffset = add(srcOffset, done)
    dstOffset = add(dstOffset, done)
    left = subtract(left, done)
  }
}

/**
 * Share the beginning of a range if possible: whole blocks, or up to EOF of both files.
 * @returns bytes
 */
function share(session: IoSession, source: number, srcOffset: Bytes, dstOffset: Bytes, length: Bytes): Bytes {
  const { volume, file } = session
  const { blocksize } = volume.geometry
  if (!volume.features.has('reflink') || inUnit(srcOffset, blocksize) !== 0 || inUnit(dstOffset, blocksize) !== 0)
    return 0
  const inode = session.inode({ ...file, ino: source })
  const whole = add(srcOffset, length) === inode.size && add(dstOffset, length) >= session.inode().size
  const shared = whole ? length : unitStart(unitOf(length, blocksize), blocksize)
  if (shared === 0) return 0
  try {
    finish(reflink(volume, source, file.ino, { srcOffset, dstOffset, length: shared }))
    return shared
  } catch (error) {
    const code = codeOf(error)
    if (code === 'INVAL' || code === 'NOSPC') return 0
    throw error
  }
}
