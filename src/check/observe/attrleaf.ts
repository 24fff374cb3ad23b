import { ATTR_LEAF_MAPSIZE, Attr3LeafHdr, AttrLeafEntry, AttrLeafMap } from '../../format/attr.ts'
import { attrFirstUsed, attrLeafItems, attrLeafSpan } from '../../format/attrentries.ts'

const { usedbytes, holes, freemap } = Attr3LeafHdr.fields

const NAME = 1
const FREE = 2

/**
 * What is wrong with the use of space in an attribute leaf that passed its verifier: names that
 * overlap, `usedbytes`, `firstused`, and the free map. If `holes` is set, names may begin after
 * `firstused`, and the free map need not list all free space. The kernel compacts such a leaf
 * before it needs that space.
 *
 * @throws XfsError CORRUPT if an entry does not fit
 * @source xfs_attr_leaf.c: xfs_attr3_leaf_remove, xfs_attr3_leaf_add; scrub/attr.c;
 *   repair/attr_repair.c
 */
export function leafSpaceFault(view: DataView): string | undefined {
  const size = view.byteLength
  const use = new Uint8Array(size)
  const { at, count } = attrLeafSpan(view)
  const entriesEnd = at + count * AttrLeafEntry.size
  let used = 0
  let first = size
  for (const { index, nameidx, size: length } of attrLeafItems(view)) {
    for (let i = nameidx; i < nameidx + length; i++) {
      if (use[i] === NAME) return `the name of entry ${index} at ${nameidx} overlaps another`
      use[i] = NAME
    }
    used += length
    first = Math.min(first, nameidx)
  }
  if (usedbytes.get(view, 0) !== used) return `usedbytes is ${usedbytes.get(view, 0)}, the names take ${used}`
  const complete = holes.get(view, 0) === 0
  if (complete && attrFirstUsed(view) !== first)
    return `firstused is ${attrFirstUsed(view)}, the first name is at ${first}`
  let listed = 0
  for (let slot = 0; slot < ATTR_LEAF_MAPSIZE; slot++) {
    const map = freemap.offset + slot * AttrLeafMap.size
    const base = AttrLeafMap.fields.base.get(view, map)
    const length = AttrLeafMap.fields.size.get(view, map)
    const place = `freemap[${slot}], ${length} bytes at ${base},`
    if (length > 0 && base < entriesEnd) return `${place} overlaps the entries, which end at ${entriesEnd}`
    for (let i = base; i < base + length; i++) {
      if (use[i] !== 0) return `${place} overlaps ${use[i] === NAME ? 'a name' : 'another free space'} at ${i}`
      use[i] = FREE
    }
    listed += length
  }
  const free = size - entriesEnd - used
  return complete && listed !== free
    ? `freemap lists ${listed} bytes, ${free} are free, and holes is not set`
    : undefined
}
