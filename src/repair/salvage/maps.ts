import { ATTR_FORK } from '../../check/extents.ts'
import type { Inodes } from '../../check/observe/inodetable.ts'

/** A mapping of a directory, a symbolic link or an attribute fork. */
export interface ForkMap {
  readonly offset: number
  readonly fsbno: number
  readonly count: number
}

const indexes = new WeakMap<Inodes, Map<number, number[]>>()

/** The mappings of a fork of a directory or symbolic link, or of an attribute fork. */
export function forkMaps(inodes: Inodes, slot: number, fork: 'data' | 'attr'): ForkMap[] {
  const { maps } = inodes
  let index = indexes.get(inodes)
  if (!index) {
    index = new Map()
    for (let row = 0; row < maps.length; row++) {
      const rows = index.get(maps.slot.get(row))
      if (rows) rows.push(row)
      else index.set(maps.slot.get(row), [row])
    }
    indexes.set(inodes, index)
  }
  return (index.get(slot) ?? [])
    .filter((row) => (maps.fork.get(row) === ATTR_FORK) === (fork === 'attr'))
    .map((row) => ({ offset: maps.offset.get(row), fsbno: maps.fsbno.get(row), count: maps.count.get(row) }))
}
