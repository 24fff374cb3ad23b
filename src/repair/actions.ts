import type { BmbtRec } from '../format/btrecs.ts'
import type { Geometry } from '../format/geometry.ts'
import type { AgTreeName } from '../format/trees.ts'
import { counted } from '../util/counted.ts'
import { printable } from '../util/printable.ts'
import type { CorePatch } from './cores.ts'
import type { ForkPatch } from './forks.ts'
import type { NameStep } from './names/step.ts'
import { isEmpty, type Plan } from './plan.ts'
import type { RepairResult } from './repair.ts'

/** What a repair does, as plain data. Offsets are in blocks of a file. */
export type RepairAction =
  | { readonly action: 'formatLog'; readonly cycle: number }
  | ({ readonly action: 'restoreExtent'; readonly from: 'rmapbt' | 'bnobt' } & ExtentPlace)
  | ({ readonly action: 'cutExtent' } & ExtentPlace)
  | { readonly action: 'setCounts'; readonly ino: number }
  | { readonly action: 'setInode'; readonly ino: number; readonly fields: readonly string[] }
  | { readonly action: 'clearInode'; readonly ino: number }
  | { readonly action: 'makeRoot'; readonly ino: number }
  | { readonly action: 'writeDirectory'; readonly ino: number; readonly entries: number; readonly dropped: number }
  | { readonly action: 'writeAttributes'; readonly ino: number; readonly attributes: number }
  | { readonly action: 'writeSymlink'; readonly ino: number }
  | { readonly action: 'discardInode'; readonly ino: number }
  | { readonly action: 'connect'; readonly ino: number; readonly directory: number; readonly name: string }
  | { readonly action: 'moveToLostFound'; readonly ino: number }
  | { readonly action: 'setParent'; readonly ino: number; readonly parent: number }
  | { readonly action: 'setLinks'; readonly ino: number; readonly nlink: number }
  | { readonly action: 'setParentPointers'; readonly ino: number; readonly removed: number; readonly added: number }
  | {
      readonly action: 'rebuildBtree'
      readonly agno: number
      readonly tree: AgTreeName
      readonly records: number
      readonly blocks: number
    }
  | { readonly action: 'writeHeaders'; readonly agno: number; readonly headers: readonly ('AGF' | 'AGI' | 'AGFL')[] }
  | { readonly action: 'setReflinkFlag'; readonly ino: number }
  | { readonly action: 'writeSuperblock'; readonly agno: number }
  | { readonly action: 'freeUnlinked'; readonly inodes: number }
  | { readonly action: 'freeCow'; readonly blocks: number }

export interface ExtentPlace {
  readonly ino: number
  readonly offset: number
  readonly length: number
  /** The first block: as AG and block in it, or as it is if there is no such block. */
  readonly block: { readonly agno: number; readonly agbno: number } | { readonly fsbno: number }
}

/** Everything that a repair did, or would do; in order. */
export function actionsOf(
  geometry: Geometry,
  { log, plans, leftovers }: Pick<RepairResult, 'log' | 'plans' | 'leftovers'>,
): RepairAction[] {
  return [
    ...(log === undefined ? [] : [{ action: 'formatLog' as const, cycle: log }]),
    ...plans.flatMap((plan) => planActions(geometry, plan)),
    ...(leftovers?.inodes ? [{ action: 'freeUnlinked' as const, inodes: leftovers.inodes }] : []),
    ...(leftovers?.cowBlocks ? [{ action: 'freeCow' as const, blocks: leftovers.cowBlocks }] : []),
  ]
}

function planActions(geometry: Geometry, plan: Plan): RepairAction[] {
  if (isEmpty(plan)) return []
  const steps = plan.forks.flatMap((patch) => forkActions(geometry, patch))
  steps.push(...plan.cores.map(coreAction), ...plan.names.map(nameAction))
  for (const { agno, trees, newAgfl, agf, agi } of plan.ags) {
    for (const { name, records, blocks } of trees) {
      if (records !== undefined)
        steps.push({ action: 'rebuildBtree', agno, tree: name, records, blocks: blocks.length })
    }
    const headers = [
      ...(agf ? (['AGF'] as const) : []),
      ...(agi ? (['AGI'] as const) : []),
      ...(newAgfl ? (['AGFL'] as const) : []),
    ]
    if (headers.length > 0) steps.push({ action: 'writeHeaders', agno, headers })
  }
  for (const { ino } of plan.inodes) steps.push({ action: 'setReflinkFlag', ino })
  for (const agno of plan.superblocks) steps.push({ action: 'writeSuperblock', agno })
  if (plan.forks.length + plan.cores.length + plan.names.length === 0)
    steps.push({ action: 'writeSuperblock', agno: 0 })
  return steps
}

const coreAction = ({ how, ino, fields }: CorePatch): RepairAction =>
  how === 'set'
    ? { action: 'setInode', ino, fields }
    : how === 'clear'
      ? { action: 'clearInode', ino }
      : { action: 'makeRoot', ino }

function nameAction(step: NameStep): RepairAction {
  const { ino } = step
  switch (step.step) {
    case 'directory':
      return { action: 'writeDirectory', ino, entries: step.entries.length, dropped: step.dropped }
    case 'attributes':
      return { action: 'writeAttributes', ino, attributes: step.attrs.length }
    case 'symlink':
      return { action: 'writeSymlink', ino }
    case 'discard':
      return { action: 'discardInode', ino }
    case 'connect':
      return step.dir === undefined
        ? { action: 'moveToLostFound', ino }
        : { action: 'connect', ino, directory: step.dir, name: printable(step.name) }
    case 'parent':
      return { action: 'setParent', ino, parent: step.parent }
    case 'links':
      return { action: 'setLinks', ino, nlink: step.nlink }
    case 'pointers':
      return { action: 'setParentPointers', ino, removed: step.remove.length, added: step.add.length }
  }
}

function forkActions(geometry: Geometry, { ino, restored, from, cut }: ForkPatch): RepairAction[] {
  const placeOf = ({ startoff, startblock, blockcount }: BmbtRec): ExtentPlace => ({
    ino,
    offset: startoff,
    length: blockcount,
    block: geometry.validFsbnoRange(startblock, Math.max(1, blockcount))
      ? { agno: geometry.agnoOf(startblock), agbno: geometry.agbnoOf(startblock) }
      : { fsbno: startblock },
  })
  const steps: RepairAction[] = [
    ...restored.map((record) => ({ action: 'restoreExtent' as const, from, ...placeOf(record) })),
    ...cut.map((record) => ({ action: 'cutExtent' as const, ...placeOf(record) })),
  ]
  return steps.length > 0 ? steps : [{ action: 'setCounts', ino }]
}

/** An action as a sentence: `rebuild AG 1 rmapbt: 12 records, 1 block`. */
export function actionText(step: RepairAction): string {
  switch (step.action) {
    case 'formatLog':
      return `format the log at cycle ${step.cycle}, past the highest LSN of metadata`
    case 'restoreExtent': {
      const source = step.from === 'rmapbt' ? 'from rmapbt' : 'with the only blocks in use without an owner'
      return `restore the extent of inode ${step.ino} at offset ${step.offset} ${source}: blocks ${blocksText(step)}`
    }
    case 'cutExtent':
      return step.length === 0
        ? `remove the empty extent of inode ${step.ino} at offset ${step.offset}`
        : `cut the extent of inode ${step.ino} at offset ${step.offset}, blocks ${blocksText(step)}: its data is lost, it becomes a hole`
    case 'setCounts':
      return `set the counts of extents and blocks of inode ${step.ino}`
    case 'setInode':
      return `set fields of inode ${step.ino}: ${step.fields.join(', ') || 'checksum'}`
    case 'clearInode':
      return `clear inode ${step.ino}: it cannot be read`
    case 'makeRoot':
      return `make a new root directory, inode ${step.ino}`
    case 'writeDirectory': {
      const lost = step.dropped > 0 ? `, without ${counted(step.dropped, 'invalid entry', 'invalid entries')}` : ''
      return `write directory ${step.ino} anew: ${counted(step.entries, 'entry', 'entries')}${lost}`
    }
    case 'writeAttributes':
      return `write the attributes of inode ${step.ino} anew: ${counted(step.attributes, 'attribute')}`
    case 'writeSymlink':
      return `write symbolic link ${step.ino} anew`
    case 'discardInode':
      return `free inode ${step.ino}: its content cannot be read`
    case 'connect':
      return `connect inode ${step.ino} as "${step.name}" in directory ${step.directory}`
    case 'moveToLostFound':
      return `move disconnected inode ${step.ino} to lost+found`
    case 'setParent':
      return `set ".." of directory ${step.ino} to ${step.parent}`
    case 'setLinks':
      return `set nlink of inode ${step.ino} to ${step.nlink}`
    case 'setParentPointers':
      return `set the parent pointers of inode ${step.ino}: ${step.removed} removed, ${step.added} added`
    case 'rebuildBtree':
      return `rebuild AG ${step.agno} ${step.tree}: ${counted(step.records, 'record')}, ${counted(step.blocks, 'block')}`
    case 'writeHeaders':
      return `write ${step.headers.join(', ')} of AG ${step.agno}`
    case 'setReflinkFlag':
      return `set the reflink flag of inode ${step.ino}`
    case 'writeSuperblock':
      return step.agno === 0 ? 'write the primary superblock' : `write the secondary superblock of AG ${step.agno}`
    case 'freeUnlinked':
      return `free ${counted(step.inodes, 'unlinked inode')}`
    case 'freeCow':
      return `free ${counted(step.blocks, 'CoW staging block')}`
  }
}

const blocksText = ({ block, length }: ExtentPlace): string =>
  'fsbno' in block ? `${block.fsbno}+${length}` : `${block.agno}/${block.agbno}+${length}`
