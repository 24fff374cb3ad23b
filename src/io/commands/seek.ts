import { segments } from '../../data/data.ts'
import type { Inode } from '../../inode/inode.ts'
import { type Bytes, most } from '../../util/bytes.ts'
import type { IoCommand, IoSession } from '../session.ts'

/**
 * The next byte of data, or of a hole, from `offset` on; −1 if there is none. Unwritten blocks are
 * holes.
 */
function seekTo(inode: Inode, offset: Bytes, what: 'data' | 'hole'): Bytes {
  if (offset >= inode.size) return -1
  for (const segment of segments(inode, offset)) {
    if ((segment.extent !== undefined) === (what === 'data')) return most(offset, segment.offset)
  }
  return what === 'hole' ? inode.size : -1
}

export const seek: IoCommand = {
  name: 'seek',
  args: '-a | -d | -h [-r] off',
  describe: 'locate the next data and/or hole',
  help: `
 -d  the next data          -h  the next hole          -a  both
 -r  all of them to EOF     -s  with the given offset

`,
  least: 2,
  most: 5,
  readOnly: true,
  run(session, argv) {
    const { letters, operands } = session.options(argv, 'adhrs')
    const wanted = { data: letters.has('a') || letters.has('d'), hole: letters.has('a') || letters.has('h') }
    const [word] = operands
    const offset = word === undefined ? -1 : session.bytes(word)
    if (letters.has('?') || operands.length !== 1 || offset < 0 || !(wanted.data || wanted.hole)) {
      session.usage(seek)
      return
    }
    list(session, offset, wanted, { all: letters.has('r'), starts: letters.has('s') })
  },
}

function list(
  session: IoSession,
  from: Bytes,
  wanted: { data: boolean; hole: boolean },
  how: { all: boolean; starts: boolean },
): void {
  const inode = session.inode()
  let what: 'data' | 'hole' = 'data'
  let start = from
  let found: Bytes = wanted.hole ? seekTo(inode, start, 'hole') : -1
  if (wanted.hole && (found === start || !wanted.data)) what = 'hole'
  else found = seekTo(inode, start, 'data')
  session.caption(how.starts ? 'Whence\tStart\tResult' : 'Whence\tResult')
  const left = { ...wanted }
  const line = (result: Bytes | undefined): void => {
    const text = `${what.toUpperCase()}\t${how.starts ? `${start}\t` : ''}${result ?? 'EOF'}`
    session.result('seek', { whence: what, start, result: result ?? null }, text)
  }
  for (let count = 0; how.all || left.data || left.hole; count++) {
    if (found < 0) {
      if (count === 0) line(undefined)
      return
    }
    if (left[what]) line(found)
    if (!how.all) left[what] = false
    what = what === 'data' ? 'hole' : 'data'
    start = found
    found = seekTo(inode, start, what)
  }
}
