import { Agfl, AgflSlot } from './ag.ts'
import { BmdrBlock } from './btblock.ts'
import type { Geometry } from './geometry.ts'
import { btrees, type ForkTreeName, type TreeForm, type TreeName, treeForms, treeNames } from './trees.ts'

/** Records per block of a tree, maximum heights of trees, and slots of an AGFL. */

interface TreeSizes {
  readonly leafMax: number
  readonly nodeMax: number
  readonly maxLevels: number
}

/** The maximum number of extents of a fork. */
export const MAX_EXTENTS = 2 ** 48

const known = new WeakMap<Geometry, Readonly<Record<TreeName, TreeSizes>>>()

/** The sizes of a tree in this filesystem; computed once. */
export function treeSizes(geometry: Geometry, tree: TreeName): TreeSizes {
  let sizes = known.get(geometry)
  if (!sizes) {
    sizes = Object.fromEntries(treeNames.map((name) => [name, sizesOf(geometry, name)])) as Record<TreeName, TreeSizes>
    known.set(geometry, sizes)
  }
  return sizes[tree]
}

function sizesOf(geometry: Geometry, tree: TreeName): TreeSizes {
  const { leafMax, nodeMax } = layoutOf(treeForms[tree], geometry)
  const leaves = btrees[tree].root.in === 'inode' ? MAX_EXTENTS / (leafMax >> 1) : geometry.agblocks
  return { leafMax, nodeMax, maxLevels: tallest(leaves, nodeMax >> 1) }
}

/** The offsets of records, keys and pointers in the blocks of a tree, and how many fit. */
export interface BlockLayout {
  readonly header: number
  readonly leafMax: number
  readonly nodeMax: number
  /** Bytes from key to key in a node. */
  readonly stride: number
  /** Bytes from the start of a node to its first pointer. */
  readonly ptrs: number
}

export function layoutOf({ recSize, keyStride: stride, ptrSize }: TreeForm, geometry: Geometry): BlockLayout {
  const header = ptrSize === 4 ? geometry.shortHeader : geometry.longHeader
  const space = geometry.blocksize - header
  const nodeMax = Math.floor(space / (stride + ptrSize))
  return { header, leafMax: Math.floor(space / recSize), nodeMax, stride, ptrs: header + nodeMax * stride }
}

/**
 * The maximum height of a tree that has at most `blocksAtMost` blocks, with at least `fanout`
 * children in each node.
 */
function tallest(blocksAtMost: number, fanout: number): number {
  let levels = 2
  for (let left = blocksAtMost, nodes = Math.max(2, fanout); nodes < left; nodes *= Math.max(2, fanout)) {
    left -= nodes
    levels++
  }
  return levels
}

/** Slots of an AGFL. */
export const agflSlots = (geometry: Geometry): number =>
  Math.floor((geometry.sectsize - (geometry.features.version === 5 ? Agfl.size : 0)) / AgflSlot.size)

/** The maximum number of records of a tree's block at a level. */
export const maxRecords = (geometry: Geometry, tree: TreeName, level: number): number => {
  const { leafMax, nodeMax } = treeSizes(geometry, tree)
  return level === 0 ? leafMax : nodeMax
}

/** The maximum number of keys of a root in a fork of `size` bytes. */
export function rootMaxRecords(size: number, tree: ForkTreeName = 'bmbt'): number {
  const { keyStride, ptrSize } = treeForms[tree]
  return Math.max(0, Math.floor((size - BmdrBlock.size) / (keyStride + ptrSize)))
}

/** The maximum height of a tree. */
export const maxLevels = (geometry: Geometry, tree: TreeName): number => treeSizes(geometry, tree).maxLevels
