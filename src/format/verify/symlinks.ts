import { SYMLINK_MAXLEN, SymlinkHdr, symlinkSpace } from '../symlink.ts'
import { type BlockType, blocks, fault, placesOf } from './blocktype.ts'

/** Blocks of remote symbolic link targets. */

export const symlink: BlockType = {
  name: 'symlink',
  ...placesOf(SymlinkHdr),
  magicsV4: [],
  fits: blocks,
  rules: (view) => {
    const { offset, bytes, owner } = SymlinkHdr.decode(view, 0)
    if (offset + bytes >= SYMLINK_MAXLEN)
      return fault('offset', `${offset} + ${bytes} exceeds the maximum target length`)
    if (bytes > symlinkSpace(view.byteLength)) return fault('bytes', `${bytes} bytes in a block of ${view.byteLength}`)
    return owner === 0 ? fault('owner', 'zero') : undefined
  },
}
