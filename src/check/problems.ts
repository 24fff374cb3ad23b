/**
 * Every problem that a check can find: what repairs it, and its message. The findings, `--json`,
 * the plan of a repair and the tests ("every id has a fixture") use these rows.
 *
 *   patch     correct a field of a header or inode in place; LSNs: format the log past them
 *   clear     remove an object that is not needed
 *   rebuild   write a btree (or the AGFL) anew from the inodes, a directory, attributes, a symbolic
 *             link or parent pointers from what of them is sound
 *   restore   derive an extent or count of an inode from rmapbt or the blocks in use, and a name
 *             from a parent pointer
 *   null      not repaired: the image contains no other copy of the value
 */
export type FixClass = 'patch' | 'clear' | 'rebuild' | 'restore' | null

export interface Problem {
  readonly fix: FixClass
  readonly text: string
  /** The most that the repair can lose; absent: nothing. */
  readonly cost?: 'name' | 'attribute' | 'extent' | 'file'
  /** Valid, but worth reporting; the filesystem is sound. */
  readonly note?: true
}

// biome-ignore format: one problem a line, columns aligned
export const problems = {
  'image.unreadable':      { fix: null,      text: 'bytes {start}+{len} cannot be read: {reason}' },
  'file.unreadable':       { fix: null,      text: 'inode {ino}: {bytes} bytes of its data cannot be read, the first at offset {offset}' },

  'sb.invalid':            { fix: 'patch',   text: 'superblock: {reason}; that of AG {from} is used, as {votes} of {copies} copies agree' },
  'sb.crc':                { fix: 'patch',   text: 'superblock: bad CRC' },
  'sb.copy':               { fix: 'patch',   text: 'secondary superblock in AG {agno}: {field} is {found}, the primary superblock has {expected}' },
  'sb.geometry':           { fix: 'patch',   text: 'superblock: {field} is {found}, all secondary superblocks have {expected}' },
  'sb.rule':               { fix: 'patch',   text: 'superblock: {field}: {reason}' },
  'sb.lsn':                { fix: 'patch',   text: 'superblock: {reason}' },
  'sb.needsrepair':        { fix: 'patch',   text: 'superblock: NEEDSREPAIR is set: a change was interrupted' },
  'sb.icount':             { fix: 'patch',   text: 'superblock: icount is {found}, counted {expected} in the AGs' },
  'sb.ifree':              { fix: 'patch',   text: 'superblock: ifree is {found}, counted {expected} in the AGs' },
  'sb.fdblocks':           { fix: 'patch',   text: 'superblock: fdblocks is {found}, counted {expected} in the AGs' },

  'sb.inode':              { fix: 'patch',   text: 'superblock: {field} is inode {found}: {reason}' },

  'agf.magic':             { fix: 'rebuild', text: 'AG {agno}: AGF magic number is {found}, expected {expected}' },
  'agf.crc':               { fix: 'patch',   text: 'AG {agno}: AGF has a bad CRC' },
  'agf.identity':          { fix: 'patch',   text: 'AG {agno}: AGF has {field} {found}, expected {expected}' },
  'agf.lsn':               { fix: 'patch',   text: 'AG {agno}: AGF: {reason}' },
  'agf.freeblks':          { fix: 'patch',   text: 'AG {agno}: AGF freeblks is {found}, counted {expected} in bnobt' },
  'agf.longest':           { fix: 'patch',   text: 'AG {agno}: AGF longest is {found}, the longest free extent has length {expected}' },
  'agf.btreeblks':         { fix: 'patch',   text: 'AG {agno}: AGF btreeblks is {found}, counted {expected} in the btrees, without their roots' },
  'agf.rmapblocks':        { fix: 'patch',   text: 'AG {agno}: AGF rmapblocks is {found}, counted {expected} in rmapbt' },
  'agf.refcntblocks':      { fix: 'patch',   text: 'AG {agno}: AGF refcntblocks is {found}, counted {expected} in refcountbt' },

  'agi.magic':             { fix: 'rebuild', text: 'AG {agno}: AGI magic number is {found}, expected {expected}' },
  'agi.crc':               { fix: 'patch',   text: 'AG {agno}: AGI has a bad CRC' },
  'agi.identity':          { fix: 'patch',   text: 'AG {agno}: AGI has {field} {found}, expected {expected}' },
  'agi.lsn':               { fix: 'patch',   text: 'AG {agno}: AGI: {reason}' },
  'agi.count':             { fix: 'patch',   text: 'AG {agno}: AGI count is {found}, counted {expected} in inobt' },
  'agi.freecount':         { fix: 'patch',   text: 'AG {agno}: AGI freecount is {found}, counted {expected} in inobt' },
  'agi.iblocks':           { fix: 'patch',   text: 'AG {agno}: AGI iblocks is {found}, counted {expected} in inobt' },
  'agi.fblocks':           { fix: 'patch',   text: 'AG {agno}: AGI fblocks is {found}, counted {expected} in finobt' },
  'agi.bucket':            { fix: 'patch',   text: 'AG {agno}: AGI unlinked list {bucket} begins with inode {agino}, which is not unlinked' },
  'agi.unlinked':          { fix: 'clear',   text: 'AG {agno}: inode {agino} is on AGI unlinked list {bucket}' },

  'agfl.magic':            { fix: 'rebuild', text: 'AG {agno}: AGFL magic number is {found}, expected {expected}' },
  'agfl.crc':              { fix: 'patch',   text: 'AG {agno}: AGFL has a bad CRC' },
  'agfl.identity':         { fix: 'patch',   text: 'AG {agno}: AGFL has {field} {found}, expected {expected}' },
  'agfl.lsn':              { fix: 'patch',   text: 'AG {agno}: AGFL: {reason}' },
  'agfl.range':            { fix: 'rebuild', text: 'AG {agno}: AGFL flfirst {first}, fllast {last} and flcount {count} do not agree ({slots} slots)' },
  'agfl.outside':          { fix: 'rebuild', text: 'AG {agno}: AGFL block {agbno} is out of range for the AG' },
  'agfl.twice':            { fix: 'rebuild', text: 'AG {agno}: AGFL has block {agbno} twice' },
  'agfl.owned':            { fix: 'rebuild', text: 'AG {agno}: AGFL has block {agbno}, which belongs to {owner}' },

  'btree.pointer':         { fix: 'rebuild', text: '{tree} of AG {agno}: block {agbno} on level {level}: {reason}' },
  'btree.loop':            { fix: 'rebuild', text: '{tree} of AG {agno}: block {agbno} on level {level}: {reason}' },
  'btree.crc':             { fix: 'rebuild', text: '{tree} block {agno}/{agbno}: {reason}' },
  'btree.header':          { fix: 'rebuild', text: '{tree} block {agno}/{agbno}: {reason}' },
  'btree.lsn':             { fix: 'rebuild', text: '{tree} block {agno}/{agbno}: {reason}' },
  'btree.sibling':         { fix: 'rebuild', text: '{tree} block {agno}/{agbno} on level {level}: {reason}' },
  'btree.rootsibling':     { fix: 'rebuild', text: '{tree} root {agno}/{agbno}: {reason}' },
  'btree.keys':            { fix: 'rebuild', text: '{tree} block {agno}/{agbno} on level {level}: {reason}' },
  'btree.fill':            { fix: 'rebuild', text: '{tree} block {agno}/{agbno} on level {level}: {reason}' },
  'btree.order':           { fix: 'rebuild', text: '{tree} block {agno}/{agbno} on level {level}: {reason}' },

  'bnobt.missing':         { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} are lost: they have no owner and are not in bnobt' },
  'bnobt.owned':           { fix: 'rebuild', text: 'AG {agno}: bnobt has blocks {agbno}+{len} as free, but they belong to {owner}' },
  'bnobt.overlap':         { fix: 'rebuild', text: 'AG {agno}: bnobt has blocks {agbno}+{len} twice' },
  'bnobt.outside':         { fix: 'rebuild', text: 'AG {agno}: bnobt record {agbno}+{len} is out of range for the AG' },
  'bnobt.split':           { fix: 'rebuild', text: 'AG {agno}: bnobt has two records for one free extent, at {agbno}+{len}' },
  'cntbt.missing':         { fix: 'rebuild', text: 'AG {agno}: cntbt has no record for the free blocks {agbno}+{len}' },
  'cntbt.extra':           { fix: 'rebuild', text: 'AG {agno}: cntbt record {agbno}+{len} is not a free extent' },

  'rmapbt.missing':        { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} belong to {owner}, offset {offset}{flags}, but rmapbt has no such record' },
  'rmapbt.free':           { fix: 'rebuild', text: 'AG {agno}: rmapbt has blocks {agbno}+{len} as owned by {owner}, but they are free' },
  'rmapbt.extra':          { fix: 'rebuild', text: 'AG {agno}: rmapbt has blocks {agbno}+{len} as owned by {owner} at offset {offset}{flags}, but they are not' },
  'rmapbt.owner':          { fix: 'rebuild', text: 'AG {agno}: rmapbt has blocks {agbno}+{len} as owned by {owner}, but they belong to {expected}' },
  'rmapbt.flags':          { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} has flags "{flags}", expected "{expected}"' },
  'rmapbt.offset':         { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} has offset {offset}, expected {expected}' },
  'rmapbt.length':         { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} has the wrong length, expected {expected}' },
  'rmapbt.split':          { fix: 'rebuild', text: 'AG {agno}: rmapbt has more than one record for blocks {agbno}+{len} of {owner}' },
  'rmapbt.outside':        { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} is out of range for the AG' },

  'refcountbt.free':       { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they are free' },
  'refcountbt.single':     { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they have 1' },
  'refcountbt.unshareable':{ fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, which cannot be shared ({owner})' },
  'refcountbt.metadata':   { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they are metadata of {owner}' },
  'refcountbt.missing':    { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} have {expected} owners, refcountbt has no record' },
  'refcountbt.high':       { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, expected only {expected}' },
  'refcountbt.low':        { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, expected {expected}' },
  'refcountbt.split':      { fix: 'rebuild', text: 'AG {agno}: refcountbt records at {agbno}+{len} should be merged with the previous record' },
  'refcountbt.overlap':    { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} overlaps the previous one' },
  'refcountbt.outside':    { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} is out of range for the AG' },
  'refcountbt.count':      { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} has the invalid count {found}' },

  'refcountbt.saturated': { fix: null,      text: 'AG {agno}: the reference count of blocks {agbno}+{len} is saturated: it never changes, and they are never freed', note: true },
  'cow.leftover':          { fix: 'clear',   text: 'AG {agno}: blocks {agbno}+{len} are leftover CoW staging blocks', note: true },
  'cow.owned':             { fix: 'rebuild', text: 'AG {agno}: CoW staging blocks {agbno}+{len} belong to {owner}' },
  'cow.free':              { fix: 'rebuild', text: 'AG {agno}: CoW staging blocks {agbno}+{len} are free' },
  'cow.rmap':              { fix: 'rebuild', text: 'AG {agno}: CoW staging blocks {agbno}+{len} are not in rmapbt' },

  'inobt.missing':         { fix: 'rebuild', text: 'AG {agno}: inodes {agino} to {last} are not in inobt' },
  'inobt.notinodes':       { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} is for blocks without inodes' },
  'inobt.overlap':         { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} overlaps the previous one' },
  'inobt.outside':         { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} is out of range for the AG' },
  'inobt.free':            { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} has free mask {found}, expected {expected}' },
  'inobt.count':           { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} has {field} {found}, expected {expected}' },
  'finobt.missing':        { fix: 'rebuild', text: 'AG {agno}: chunk {agino} has free inodes, but no record in finobt' },
  'finobt.extra':          { fix: 'rebuild', text: 'AG {agno}: finobt record {agino} is not a chunk with free inodes' },
  'finobt.wrong':          { fix: 'rebuild', text: 'AG {agno}: finobt record {agino} has {field} {found}, expected {expected}' },

  'inode.crc':             { fix: 'patch',   text: 'inode {ino}: {reason}', cost: 'file' },
  'inode.core':            { fix: 'patch',   text: 'inode {ino}: {field}: {reason}', cost: 'file' },
  'inode.lsn':             { fix: 'patch',   text: 'inode {ino}: {reason}' },
  'inode.extent':          { fix: 'restore', text: 'inode {ino}: {reason}', cost: 'extent' },
  'inode.count':           { fix: 'restore', text: 'inode {ino}: {field} is {found}, expected {expected}' },
  'inode.crosslinked':     { fix: 'restore', text: 'AG {agno}: blocks {agbno}+{len} belong to {owner} and to {other}', cost: 'extent' },
  'inode.reflink':         { fix: 'patch',   text: 'inode {ino}: has shared blocks {agno}/{agbno}+{len}, but its reflink flag is not set' },
  'inode.nlink':           { fix: 'patch',   text: 'inode {ino}: nlink is {found}, expected {expected}' },
  'inode.unreachable':     { fix: 'restore', text: 'inode {ino}: disconnected (not reachable from the root directory)', cost: 'name' },
  'dir.block':             { fix: 'rebuild', text: 'directory {ino}, file block {offset}: {reason}', cost: 'name' },
  'dir.index':             { fix: 'rebuild', text: 'directory {ino}: {reason}' },
  'dir.name':              { fix: 'rebuild', text: 'directory {ino}: the entry for inode {target} has an invalid name: empty, a dot entry, or with a zero byte or a slash', cost: 'name' },
  'dir.duplicate':         { fix: 'rebuild', text: 'directory {ino}: the entry for inode {target} has a duplicate name', cost: 'name' },
  'dir.dot':               { fix: 'rebuild', text: 'directory {ino}: "." points to inode {found}' },
  'dir.entry':             { fix: 'rebuild', text: 'directory {ino}: an entry points to inode {target}, which is not in use', cost: 'name' },
  'dir.ftype':             { fix: 'rebuild', text: 'directory {ino}: the entry for inode {target} has file type {found}, expected {expected}' },
  'dir.twice':             { fix: 'rebuild', text: 'directory {ino} has entries in directory {first} and in directory {second}', cost: 'name' },
  'dir.parent':            { fix: 'patch',   text: 'directory {ino}: ".." points to {found}, expected {expected}' },
  'attr.block':            { fix: 'rebuild', text: 'inode {ino}, attr fork block {offset}: {reason}', cost: 'attribute' },
  'attr.space':            { fix: 'rebuild', text: 'inode {ino}, attr fork block {offset}: {reason}' },
  'attr.value':            { fix: 'rebuild', text: 'inode {ino}, attribute value in file block {offset}: {reason}', cost: 'attribute' },
  'parent.pointers':       { fix: 'rebuild', text: 'inode {ino}: parent pointers ({found}) do not match its links ({expected})' },
  'symlink.block':         { fix: 'rebuild', text: 'symbolic link {ino}: {reason}', cost: 'file' },
  'bmbt.pointer':          { fix: 'restore', text: 'inode {ino}: bmbt block {fsbno} on level {level}: {reason}', cost: 'extent' },
  'bmbt.loop':             { fix: 'restore', text: 'inode {ino}: bmbt block {fsbno} on level {level}: {reason}', cost: 'extent' },
  'bmbt.crc':              { fix: 'patch',   text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}', cost: 'extent' },
  'bmbt.header':           { fix: 'patch',   text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}', cost: 'extent' },
  'bmbt.lsn':              { fix: 'patch',   text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}' },
  'bmbt.sibling':          { fix: 'patch',   text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
  'bmbt.keys':             { fix: 'restore', text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
  'bmbt.order':            { fix: 'restore', text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
} as const satisfies Record<string, Problem>

export type ProblemId = keyof typeof problems
export const problemIds = Object.keys(problems) as readonly ProblemId[]

/** A finding of a check: an id and the values for the text of its row. */
export interface Finding {
  readonly id: ProblemId
  readonly facts: Readonly<Record<string, number | string>>
  /** A path of the inode `facts.ino`, if one was looked for and found. */
  readonly path?: Uint8Array
}

export const problemOf = (id: ProblemId): Problem => problems[id]
/** Problems that a sound filesystem may have. */
export const notes = problemIds.filter((id) => problemOf(id).note === true)
