import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { ILOG_FIELDS } from '../format/logitems.ts'
import { counted } from '../util/counted.ts'
import type { FieldValues, ItemEntry, LogEntry } from './entries.ts'

/** What changed in a log, in order, for people. */
export interface TimelineLine {
  /** 0: a transaction; 1: an item of it. */
  readonly depth: 0 | 1
  readonly text: string
}

export function* timeline(entries: Iterable<LogEntry>): Generator<TimelineLine> {
  for (const entry of entries) {
    if (entry.kind === 'transaction')
      yield {
        depth: 0,
        text: `${entry.cycle}:${entry.block}  transaction ${entry.tid}: ${counted(entry.items, 'item')}`,
      }
    else if (entry.kind === 'item') yield { depth: 1, text: itemText(entry) }
  }
}

const number = (fields: FieldValues | undefined, name: string): number => Number(fields?.[name] ?? 0)

function itemText(item: ItemEntry): string {
  const { type, fields, extents = [] } = item
  switch (type) {
    case 'buf':
      return bufferText(item)
    case 'inode':
      return inodeText(item)
    case 'icreate':
      return `create ${fields['count']} inodes in AG ${fields['ag']} at block ${fields['agbno']}`
    case 'dquot':
      return `quota record of id ${fields['id']}`
    case 'attri':
      return `intent attri ${fields['id']}: change attributes of inode ${fields['ino']}${attributeText(item)}`
    case 'xmi':
      return `intent xmi ${fields['id']}: exchange mappings of inodes ${fields['inode1']} and ${fields['inode2']}, ${fields['blockcount']} blocks left`
    default: {
      const name = type.replace('Rt', ' (realtime)')
      if (fields['intent_id'] !== undefined) return `done ${name}: intent ${fields['intent_id']} is finished`
      const purpose = PURPOSES[type.slice(0, 3)]
      if (purpose === undefined) return name
      return `intent ${name} ${fields['id']}: ${purpose} ${counted(extents.length, 'extent')}${listText(extents)}`
    }
  }
}

const PURPOSES: Readonly<Record<string, string>> = {
  efi: 'free',
  rui: 'change reverse mappings of',
  cui: 'change reference counts of',
  bui: 'change block mappings of',
}

/** Extents that are shown of an intent. */
const SHOWN = 3

function listText(extents: readonly FieldValues[]): string {
  if (extents.length === 0) return ''
  const shown = extents.slice(0, SHOWN).map((extent) => {
    const place = `${extent['start'] ?? extent['startblock']}+${extent['len']}`
    return extent['owner'] === undefined ? place : `${place} of inode ${extent['owner']}`
  })
  return ` (${shown.join(', ')}${extents.length > SHOWN ? ' …' : ''})`
}

const attributeText = ({ attribute }: ItemEntry): string =>
  attribute?.['name'] === undefined ? '' : ` (${attribute['name']})`

function bufferText({ fields, block, cancelled, regions }: ItemEntry): string {
  const place = `buffer ${fields['blkno']}+${fields['len']}`
  if (cancelled) return `${place}  freed: earlier changes of it are void`
  const logged = regions.slice(1).reduce((sum, length) => sum + length, 0)
  return `${place}  ${block}, ${counted(logged, 'byte')}`
}

const TYPES: Readonly<Record<number, string>> = {
  [FILE_TYPES.fifo]: 'fifo',
  [FILE_TYPES.chr]: 'character device',
  [FILE_TYPES.dir]: 'directory',
  [FILE_TYPES.blk]: 'block device',
  [FILE_TYPES.reg]: 'file',
  [FILE_TYPES.lnk]: 'symbolic link',
  [FILE_TYPES.sock]: 'socket',
}

const PARTS = [
  [ILOG_FIELDS.dataLocal, 'content'],
  [ILOG_FIELDS.dataExtents, 'extents'],
  [ILOG_FIELDS.dataRoot, 'btree root'],
  [ILOG_FIELDS.dev, 'device'],
  [ILOG_FIELDS.attrFork, 'attributes'],
] as const

function inodeText({ fields, core }: ItemEntry): string {
  const mode = number(core, 'mode')
  const type = mode === 0 ? 'free' : (TYPES[mode & S_IFMT] ?? 'unknown type')
  const logged = number(fields, 'fields')
  const parts = PARTS.filter(([bit]) => (logged & bit) !== 0).map(([, part]) => part)
  const size = `${core?.['fsize']} bytes, ${core?.['nblocks']} blocks, ${counted(number(core, 'nlink'), 'link')}`
  return `inode ${fields['ino']}  ${type}, ${size}${parts.length > 0 ? `; ${parts.join(', ')}` : ''}`
}
