import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dbTypes, structures } from '../../src/db/types.ts'
import { attrLocalSize, attrRemoteBlocks, attrRemoteSize } from '../../src/format/attr.ts'
import { dataEntrySize } from '../../src/format/dirblocks.ts'
import { sfEntrySize, sfHeaderSize } from '../../src/format/dirshortform.ts'
import { hostOrder } from '../../src/format/hostorder.ts'
import * as items from '../../src/format/logitems.ts'

/** Sizes as in xfs_ondisk.h. */
const sizes: Readonly<Record<string, number>> = {
  agf: 224,
  agfl: 36,
  agi: 344,
  alloc_rec: 8,
  bmbt_key: 8,
  bmbt_rec: 16,
  bmdr: 4,
  inode: 176,
  disk_dquot: 104,
  dqblk: 136,
  symlink: 56,
  inobt_key: 4,
  inobt_rec: 16,
  refcount_key: 4,
  refcount_rec: 12,
  rmap_key: 20,
  rmap_rec: 24,
  btblock_long: 72,
  btblock_short: 56,
  attr3_leaf_hdr: 80,
  attr3_remote_hdr: 56,
  da3_blkinfo: 56,
  da3_node_hdr: 64,
  dir3_blk_hdr: 48,
  dir3_data_hdr: 64,
  dir3_free_hdr: 64,
  dir3_leaf_hdr: 64,
  attr_leaf_entry: 8,
  attr_leaf_map: 4,
  attr_sf_hdr: 4,
  attr_sf_entry: 3,
  da_blkinfo: 12,
  da_node_entry: 8,
  dir2_data_free: 4,
  dir2_leaf_entry: 8,
  dir2_leaf_tail: 4,
  dir2_sf_entry: 3,
  parent_rec: 12,
  buf_log_format: 88,
  dq_logformat: 24,
  efd_log_format: 16,
  efi_log_format: 16,
  extent_32: 12,
  extent_64: 16,
  log_dinode: 176,
  icreate_log: 28,
  inode_log_format_32: 52,
  inode_log_format: 56,
  qoff_logformat: 20,
  trans_header: 16,
  attri_log_format: 40,
  attrd_log_format: 16,
  bui_log_format: 16,
  bud_log_format: 16,
  cui_log_format: 16,
  cud_log_format: 16,
  rui_log_format: 16,
  rud_log_format: 16,
  map_extent: 32,
  phys_extent: 16,
  unmount_record: 8,
  xmd_log_format: 16,
  xmi_log_format: 88,
}

test('structures have the sizes that xfs_ondisk.h asserts', () => {
  for (const [name, size] of Object.entries(sizes)) assert.equal(structures.get(name)?.size, size, name)
})

test('every structure has a source and every field a doc', () => {
  for (const struct of structures.values()) {
    assert.match(struct.source, /^xfs_\w+\.h: /, struct.name)
    for (const field of struct.list) assert.ok(field.doc.length > 0, `${struct.name}.${field.name}`)
  }
})

test('both forms of a host-ordered structure have the same fields', () => {
  for (const row of Object.values(items.logItems)) {
    const { big, little } = row.format
    assert.deepEqual(
      little.list.map((field) => [field.name, field.offset, field.size]),
      big.list.map((field) => [field.name, field.offset, field.size]),
    )
  }
  const again = hostOrder(items.BufLogFormat.big)
  assert.equal(again.size, 88)
})

test('sizes of what has no fixed layout', () => {
  assert.deepEqual([1, 4, 5, 12, 13, 255].map(dataEntrySize), [16, 16, 24, 24, 32, 272])
  assert.deepEqual([sfHeaderSize(0), sfHeaderSize(1), sfEntrySize(3, 0), sfEntrySize(3, 2)], [6, 10, 11, 15])
  assert.deepEqual(
    [attrLocalSize(1, 0), attrLocalSize(1, 1), attrLocalSize(255, 12), attrRemoteSize(1), attrRemoteSize(2)],
    [4, 8, 272, 12, 16],
  )
  assert.deepEqual(
    [attrRemoteBlocks(4040, 4096), attrRemoteBlocks(4041, 4096), attrRemoteBlocks(65536, 4096)],
    [1, 2, 17],
  )
})

test('types of xfs_db are there', () => {
  const names = [
    'agf',
    'agfl',
    'agi',
    'attr3',
    'bmapbta',
    'bmapbtd',
    'bnobt',
    'cntbt',
    'rmapbt',
    'refcntbt',
    'data',
    'dir3',
    'dqblk',
    'inobt',
    'inodata',
    'inode',
    'log',
    'rtbitmap',
    'rtsummary',
    'sb',
    'symlink',
    'text',
    'finobt',
  ]
  for (const name of names) assert.ok(dbTypes.has(name), name)
})
