import { SYMLINK_MAGIC, SYMLINK_MAXLEN, SymlinkHdr, symlinkSpace } from '../symlink.ts'
import { type BlockType, blocks, fault } from './blocktype.ts'
import { magic32At0 } from './directories.ts'

/** Blocks of symbolic links. */

export const symlink: BlockType = {
  name: 'symlink',
  magics: [SYMLINK_MAGIC],
  magicsV4: [],
  ...magic32At0,
  crcOffset: SymlinkHdr.fields.crc.offset,
  uuidOffset: SymlinkHdr.fields.uuid.offset,
  ownerOffset: SymlinkHdr.fields.owner.offset,
  daddrOffset: SymlinkHdr.fields.bno.offset,
  lsnOffset: SymlinkHdr.fields.lsn.offset,
  fits: blocks,
  rules: (view) => {
    const { offset, bytes, owner } = SymlinkHdr.decode(view, 0)
    if (offset + bytes >= SYMLINK_MAXLEN) return fault('offset', `${offset} + ${bytes} is beyond the longest target`)
    if (bytes > symlinkSpace(view.byteLength)) return fault('bytes', `${bytes} bytes in a block of ${view.byteLength}`)
    return owner === 0 ? fault('owner', 'no owner') : undefined
  },
}
