/**
 * Every problem that a check can find: what repairs it, and how it reads. Data decides, code only reports; the rows feed the
 * findings, `--json`, the plan of a repair and the tests ("every id has a fixture").
 *
 *   patch     a field of a header or of an inode is set right, in place; LSNs: the log is formatted after them
 *   clear     an object that nothing needs is dropped
 *   rebuild   a btree (or the AGFL) is rebuilt from what the inodes say
 *   restore   an extent or count of an inode is derived from rmapbt or the blocks in use, where they tell
 *   null      nothing here repairs it: what it says cannot be derived from anything else
 */
export type FixClass = 'patch' | 'clear' | 'rebuild' | 'restore' | null

export interface Problem {
  readonly fix: FixClass
  readonly text: string
  /** Legal, and worth knowing; the filesystem is sound. */
  readonly note?: true
}

// biome-ignore format: one problem a line, columns aligned
export const problems = {
  'sb.crc':                { fix: 'patch',   text: 'superblock: the checksum is wrong' },
  'sb.copy':               { fix: 'patch',   text: 'AG {agno}: the copy of the superblock has {field} {found}, the first has {expected}' },
  'sb.geometry':           { fix: null,      text: 'superblock: {field} is {found}, all copies have {expected}' },
  'sb.rule':               { fix: null,      text: 'superblock: {field}: {reason}' },
  'sb.lsn':                { fix: 'patch',   text: 'superblock: {reason}' },
  'sb.needsrepair':        { fix: 'patch',   text: 'superblock: NEEDSREPAIR is set: a change was interrupted' },
  'sb.icount':             { fix: 'patch',   text: 'superblock: icount is {found}, the AGs have {expected} inodes' },
  'sb.ifree':              { fix: 'patch',   text: 'superblock: ifree is {found}, the AGs have {expected} free inodes' },
  'sb.fdblocks':           { fix: 'patch',   text: 'superblock: fdblocks is {found}, the AGs have {expected} free blocks' },

  'sb.inode':              { fix: null,      text: 'superblock: {field} is inode {found}: {reason}' },

  'agf.magic':             { fix: 'rebuild', text: 'AG {agno}: AGF magic number is {found}, expected {expected}' },
  'agf.crc':               { fix: 'patch',   text: 'AG {agno}: AGF checksum is wrong' },
  'agf.identity':          { fix: 'patch',   text: 'AG {agno}: AGF has {field} {found}, expected {expected}' },
  'agf.lsn':               { fix: 'patch',   text: 'AGF of AG {agno}: {reason}' },
  'agf.freeblks':          { fix: 'patch',   text: 'AG {agno}: AGF freeblks is {found}, bnobt holds {expected}' },
  'agf.longest':           { fix: 'patch',   text: 'AG {agno}: AGF longest is {found}, the longest free run has {expected} blocks' },
  'agf.btreeblks':         { fix: 'patch',   text: 'AG {agno}: AGF btreeblks is {found}, the trees have {expected} blocks below their roots' },
  'agf.rmapblocks':        { fix: 'patch',   text: 'AG {agno}: AGF rmapblocks is {found}, rmapbt has {expected} blocks' },
  'agf.refcntblocks':      { fix: 'patch',   text: 'AG {agno}: AGF refcntblocks is {found}, refcountbt has {expected} blocks' },

  'agi.magic':             { fix: 'rebuild', text: 'AG {agno}: AGI magic number is {found}, expected {expected}' },
  'agi.crc':               { fix: 'patch',   text: 'AG {agno}: AGI checksum is wrong' },
  'agi.identity':          { fix: 'patch',   text: 'AG {agno}: AGI has {field} {found}, expected {expected}' },
  'agi.lsn':               { fix: 'patch',   text: 'AGI of AG {agno}: {reason}' },
  'agi.count':             { fix: 'patch',   text: 'AG {agno}: AGI count is {found}, inobt holds {expected} inodes' },
  'agi.freecount':         { fix: 'patch',   text: 'AG {agno}: AGI freecount is {found}, inobt holds {expected} free inodes' },
  'agi.iblocks':           { fix: 'patch',   text: 'AG {agno}: AGI iblocks is {found}, inobt has {expected} blocks' },
  'agi.fblocks':           { fix: 'patch',   text: 'AG {agno}: AGI fblocks is {found}, finobt has {expected} blocks' },
  'agi.bucket':            { fix: 'patch',   text: 'AG {agno}: bucket {bucket} of the unlinked inodes begins with {agino}, which is no unlinked inode' },
  'agi.unlinked':          { fix: null,      text: 'AG {agno}: inode {agino} is on the list of unlinked inodes (bucket {bucket})' },

  'agfl.magic':            { fix: 'rebuild', text: 'AG {agno}: AGFL magic number is {found}, expected {expected}' },
  'agfl.crc':              { fix: 'patch',   text: 'AG {agno}: AGFL checksum is wrong' },
  'agfl.identity':         { fix: 'patch',   text: 'AG {agno}: AGFL has {field} {found}, expected {expected}' },
  'agfl.lsn':              { fix: 'patch',   text: 'AGFL of AG {agno}: {reason}' },
  'agfl.range':            { fix: 'rebuild', text: 'AG {agno}: AGFL slots {first} to {last} of {slots} do not hold {count} blocks' },
  'agfl.outside':          { fix: 'rebuild', text: 'AG {agno}: the AGFL lists block {agbno}, which lies outside of the AG' },
  'agfl.twice':            { fix: 'rebuild', text: 'AG {agno}: the AGFL lists block {agbno} twice' },
  'agfl.owned':            { fix: 'rebuild', text: 'AG {agno}: the AGFL lists block {agbno}, which {owner} owns' },

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

  'bnobt.missing':         { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} are lost: nobody owns them and bnobt does not list them as free' },
  'bnobt.owned':           { fix: 'rebuild', text: 'AG {agno}: bnobt lists blocks {agbno}+{len} as free, but {owner} owns them' },
  'bnobt.overlap':         { fix: 'rebuild', text: 'AG {agno}: bnobt lists blocks {agbno}+{len} twice' },
  'bnobt.outside':         { fix: 'rebuild', text: 'AG {agno}: bnobt record {agbno}+{len} lies outside of the AG' },
  'bnobt.split':           { fix: 'rebuild', text: 'AG {agno}: bnobt has two records where one run of free blocks is, at {agbno}+{len}' },
  'cntbt.missing':         { fix: 'rebuild', text: 'AG {agno}: cntbt has no record for the free blocks {agbno}+{len}' },
  'cntbt.extra':           { fix: 'rebuild', text: 'AG {agno}: cntbt has a record {agbno}+{len} that is no run of free blocks' },

  'rmapbt.missing':        { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} belong to {owner}, offset {offset}{flags}, but rmapbt does not say so' },
  'rmapbt.free':           { fix: 'rebuild', text: 'AG {agno}: rmapbt says that {owner} owns blocks {agbno}+{len}, but they are free' },
  'rmapbt.extra':          { fix: 'rebuild', text: 'AG {agno}: rmapbt says that {owner} owns blocks {agbno}+{len} at offset {offset}{flags}, but it does not' },
  'rmapbt.owner':          { fix: 'rebuild', text: 'AG {agno}: rmapbt says that {owner} owns blocks {agbno}+{len}, but they belong to {expected}' },
  'rmapbt.flags':          { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} has the flags{flags}, expected{expected}' },
  'rmapbt.offset':         { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} has offset {offset}, expected {expected}' },
  'rmapbt.length':         { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} of {owner} should have {expected} blocks' },
  'rmapbt.split':          { fix: 'rebuild', text: 'AG {agno}: rmapbt has more than one record for blocks {agbno}+{len} of {owner}' },
  'rmapbt.outside':        { fix: 'rebuild', text: 'AG {agno}: rmapbt record {agbno}+{len} lies outside of the AG' },

  'refcountbt.free':       { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they are free' },
  'refcountbt.single':     { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they have one' },
  'refcountbt.unshareable':{ fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, which cannot be shared ({owner})' },
  'refcountbt.metadata':   { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, but they are metadata of {owner}' },
  'refcountbt.missing':    { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} have {expected} owners, refcountbt has no record' },
  'refcountbt.high':       { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, there are only {expected}' },
  'refcountbt.low':        { fix: 'rebuild', text: 'AG {agno}: refcountbt counts {found} owners of blocks {agbno}+{len}, there are {expected}' },
  'refcountbt.split':      { fix: 'rebuild', text: 'AG {agno}: refcountbt records at {agbno}+{len} should be one with the record before them' },
  'refcountbt.overlap':    { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} overlaps the one before it' },
  'refcountbt.outside':    { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} lies outside of the AG' },
  'refcountbt.count':      { fix: 'rebuild', text: 'AG {agno}: refcountbt record {agbno}+{len} has the count {found}, which cannot be' },

  'refcountbt.saturated': { fix: null,      text: 'AG {agno}: the reference count of blocks {agbno}+{len} is the maximum: it does not change any more, and they are never freed', note: true },
  'cow.leftover':          { fix: 'clear',   text: 'AG {agno}: blocks {agbno}+{len} are left over from copy-on-write', note: true },
  'cow.owned':             { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} are held for copy-on-write, but {owner} owns them' },
  'cow.free':              { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} are held for copy-on-write, but they are free' },
  'cow.rmap':              { fix: 'rebuild', text: 'AG {agno}: blocks {agbno}+{len} are held for copy-on-write, but rmapbt does not say so' },

  'inobt.missing':         { fix: 'rebuild', text: 'AG {agno}: the inodes {agino} to {last} are in no record of inobt' },
  'inobt.notinodes':       { fix: 'rebuild', text: 'AG {agno}: inobt has a chunk at {agino}, but there are no inodes' },
  'inobt.overlap':         { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} overlaps the one before it' },
  'inobt.outside':         { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} lies outside of the AG' },
  'inobt.free':            { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} says free mask {found}, the inodes say {expected}' },
  'inobt.count':           { fix: 'rebuild', text: 'AG {agno}: inobt record {agino} has {field} {found}, expected {expected}' },
  'finobt.missing':        { fix: 'rebuild', text: 'AG {agno}: the chunk {agino} has free inodes, but finobt has no record' },
  'finobt.extra':          { fix: 'rebuild', text: 'AG {agno}: finobt has a record {agino} that is no chunk with free inodes' },
  'finobt.wrong':          { fix: 'rebuild', text: 'AG {agno}: finobt record {agino} has {field} {found}, expected {expected}' },

  'inode.crc':             { fix: null,      text: 'inode {ino}: {reason}' },
  'inode.core':            { fix: null,      text: 'inode {ino}: {field}: {reason}' },
  'inode.lsn':             { fix: 'patch',   text: 'inode {ino}: {reason}' },
  'inode.extent':          { fix: 'restore', text: 'inode {ino}: {reason}' },
  'inode.count':           { fix: 'restore', text: 'inode {ino}: {field} is {found}, expected {expected}' },
  'inode.crosslinked':     { fix: 'restore', text: 'AG {agno}: blocks {agbno}+{len} belong to {owner} and to {other}' },
  'inode.reflink':         { fix: 'patch',   text: 'inode {ino}: it shares blocks {agno}/{agbno}+{len}, but its reflink flag is not set' },
  'inode.nlink':           { fix: null,      text: 'inode {ino}: nlink is {found}, there are {expected} links' },
  'inode.unreachable':     { fix: null,      text: 'inode {ino}: it is in use, and no directory that leads to the root has it' },
  'dir.block':             { fix: null,      text: 'directory {ino}, file block {offset}: {reason}' },
  'dir.index':             { fix: null,      text: 'directory {ino}: {reason}' },
  'dir.name':              { fix: null,      text: 'directory {ino}: the name of the entry for inode {target} cannot be: it is empty, a dot entry, or has a zero or a slash in it' },
  'dir.duplicate':         { fix: null,      text: 'directory {ino}: the name of the entry for inode {target} is there twice' },
  'dir.dot':               { fix: null,      text: 'directory {ino}: "." leads to inode {found}' },
  'dir.entry':             { fix: null,      text: 'directory {ino}: an entry leads to inode {target}, which is not in use' },
  'dir.ftype':             { fix: null,      text: 'directory {ino}: the entry for inode {target} has file type {found}, expected {expected}' },
  'dir.twice':             { fix: null,      text: 'directory {ino} is in directory {first} and in directory {second}' },
  'dir.parent':            { fix: null,      text: 'directory {ino}: ".." leads to {found}, expected {expected}' },
  'attr.block':            { fix: null,      text: 'inode {ino}, attributes, file block {offset}: {reason}' },
  'attr.space':            { fix: null,      text: 'inode {ino}, attributes, file block {offset}: {reason}' },
  'attr.value':            { fix: null,      text: 'inode {ino}, attributes, the value in file block {offset}: {reason}' },
  'parent.pointers':       { fix: null,      text: 'inode {ino}: its parent pointers ({found}) are not those of its links ({expected})' },
  'symlink.block':         { fix: null,      text: 'symbolic link {ino}: {reason}' },
  'bmbt.pointer':          { fix: null,      text: 'inode {ino}: bmbt block {fsbno} on level {level}: {reason}' },
  'bmbt.loop':             { fix: null,      text: 'inode {ino}: bmbt block {fsbno} on level {level}: {reason}' },
  'bmbt.crc':              { fix: null,      text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}' },
  'bmbt.header':           { fix: null,      text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}' },
  'bmbt.lsn':              { fix: 'patch',   text: 'inode {ino}: bmbt block {agno}/{agbno}: {reason}' },
  'bmbt.sibling':          { fix: null,      text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
  'bmbt.keys':             { fix: 'restore', text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
  'bmbt.order':            { fix: 'restore', text: 'inode {ino}: bmbt block {agno}/{agbno} on level {level}: {reason}' },
} as const satisfies Record<string, Problem>

export type ProblemId = keyof typeof problems
export const problemIds = Object.keys(problems) as readonly ProblemId[]

/** The answer of a check: an id and what the row's text needs. */
export interface Finding {
  readonly id: ProblemId
  readonly facts: Readonly<Record<string, number | string>>
}

export const problemOf = (id: ProblemId): Problem => problems[id]
/** Problems that a sound filesystem may have. */
export const notes = problemIds.filter((id) => problemOf(id).note === true)
