import type { Device } from '../../device/device.ts'
import { orderByPosition, readBlocks } from '../../device/readblocks.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { f64Column, orderByU32, orderTies, u32Column } from '../../util/columns.ts'
import { ATTR_FORK } from '../extents.ts'
import type { Findings } from '../findings.ts'
import { AttributeScan } from './attributes.ts'
import { BlockFaults, type BlockProblem } from './blockfaults.ts'
import { DirectoryScan } from './directories.ts'
import { type ForkVisitor, type Inodes, S_IFDIR, S_IFLNK, S_IFMT } from './inodetable.ts'
import type { Scene } from './scene.ts'
import { SymlinkScan } from './symlinks.ts'

/**
 * Directories, attributes and symbolic links. Reads their blocks in the order of the disk, and
 * passes each to the class of its kind.
 */
export class NameScan implements ForkVisitor {
  readonly directories: DirectoryScan
  readonly attributes: AttributeScan
  readonly symlinks: SymlinkScan
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #findings: Findings
  readonly #faults: BlockFaults

  constructor(scene: Scene) {
    this.#device = scene.device
    this.#geometry = scene.geometry
    this.#findings = scene.findings
    this.#faults = new BlockFaults(scene)
    this.directories = new DirectoryScan(scene, this.#faults)
    this.attributes = new AttributeScan(scene, this.#faults)
    this.symlinks = new SymlinkScan(scene, this.#faults)
  }

  /** Names are missing: links cannot be counted. */
  get blind(): boolean {
    return this.#faults.blind
  }

  localData(slot: number, ino: number, mode: number, view: DataView, at: number, size: number): void {
    if ((mode & S_IFMT) === S_IFLNK) this.symlinks.local(ino, view, at, size)
    else if ((mode & S_IFMT) === S_IFDIR) this.directories.local(slot, ino, view, at, size)
  }

  localAttr(slot: number, ino: number, view: DataView, at: number, size: number): void {
    this.attributes.local(slot, ino, view, at, size)
  }

  /** Read the blocks that the forks map. */
  readMaps(inodes: Inodes): void {
    const { dirblocks, blocksize } = this.#geometry
    const { maps } = inodes
    const repeated = this.#repeatedMaps(inodes)
    const slots = u32Column()
    const offsets = f64Column()
    const positions = f64Column()
    const wide: number[] = []
    const readAll = (): void => {
      const where = positions.filled()
      readBlocks(this.#device, blocksize, where, orderByPosition(where), (view, at, row) => {
        const slot = slots.get(row)
        const offset = offsets.get(row)
        const block = new DataView(view.buffer, view.byteOffset + at, blocksize)
        const daddr = (where[row] as number) / BASIC_BLOCK
        if (offset < 0) this.attributes.block(slot, inodes.ino(slot), -1 - offset, block, daddr)
        else if ((inodes.mode.get(slot) & S_IFMT) === S_IFLNK) this.symlinks.block(slot, inodes.ino(slot), block, daddr)
        else this.directories.block(slot, inodes.ino(slot), offset, block, daddr)
      })
      for (const column of [slots, offsets, positions]) column.length = 0
    }
    for (let row = 0; row < maps.length; row++) {
      if (repeated[row] === 1) continue
      const slot = maps.slot.get(row)
      const directory = maps.fork.get(row) !== ATTR_FORK && (inodes.mode.get(slot) & S_IFMT) === S_IFDIR
      if (directory && dirblocks > 1) {
        wide.push(row)
        continue
      }
      if (maps.fork.get(row) !== ATTR_FORK && maps.count.get(row) > 1 && (inodes.mode.get(slot) & S_IFMT) === S_IFLNK) {
        this.symlinks.extent(slot, inodes.ino(slot), maps.fsbno.get(row), maps.count.get(row))
        continue
      }
      for (let i = 0; i < maps.count.get(row); i++) {
        slots.push(slot)
        // The sign shows the fork: −1 − offset in an attribute fork.
        const offset = maps.offset.get(row) + i
        offsets.push(maps.fork.get(row) === ATTR_FORK ? -1 - offset : offset)
        positions.push(this.#geometry.fsbToDaddr(maps.fsbno.get(row) + i) * BASIC_BLOCK)
        if (positions.length === AT_ONCE) readAll()
      }
    }
    readAll()
    if (wide.length > 0) this.#readWide(inodes, wide)
    this.#finish(inodes)
  }

  /**
   * Rows of `maps` whose blocks another row of the fork maps too are 1. They are not read: in a
   * small image a few blocks could be mapped any number of times, and reading them would take any
   * amount of time.
   */
  #repeatedMaps(inodes: Inodes): Uint8Array {
    const { slot, fork, offset, fsbno, count } = inodes.maps
    const repeated = new Uint8Array(slot.length)
    const order = orderByU32(slot.filled())
    orderTies(
      order,
      slot.data,
      (a, b) => fork.get(a) - fork.get(b) || fsbno.get(a) - fsbno.get(b) || offset.get(a) - offset.get(b),
    )
    let last = order[0] ?? 0
    for (const row of order.subarray(1)) {
      const overlaps =
        slot.get(row) === slot.get(last) &&
        fork.get(row) === fork.get(last) &&
        fsbno.get(row) < fsbno.get(last) + count.get(last)
      if (overlaps) {
        repeated[row] = 1
        const reason = `its blocks are also mapped at file block ${offset.get(last)}`
        this.#faults.bad(this.#problemOf(inodes, row), inodes.ino(slot.get(row)), offset.get(row), reason)
      } else last = row
    }
    return repeated
  }

  #problemOf({ maps, mode }: Inodes, row: number): BlockProblem {
    if (maps.fork.get(row) === ATTR_FORK) return 'attr.block'
    return (mode.get(maps.slot.get(row)) & S_IFMT) === S_IFDIR ? 'dir.block' : 'symlink.block'
  }

  /** Read directory blocks of several filesystem blocks, each of which may be anywhere. */
  #readWide(inodes: Inodes, rows: readonly number[]): void {
    const { dirblocks, blocksize } = this.#geometry
    const { maps } = inodes
    /** Addresses of the blocks, by slot and number of the directory block. */
    const parts = new Map<string, { slot: number; offset: number; daddrs: number[] }>()
    for (const row of rows) {
      for (let i = 0; i < maps.count.get(row); i++) {
        const offset = maps.offset.get(row) + i
        const first = offset - (offset % dirblocks)
        const key = `${maps.slot.get(row)} ${first}`
        let block = parts.get(key)
        if (!block) {
          block = { slot: maps.slot.get(row), offset: first, daddrs: [] }
          parts.set(key, block)
        }
        block.daddrs[offset - first] = this.#geometry.fsbToDaddr(maps.fsbno.get(row) + i)
      }
    }
    const bytes = new Uint8Array(dirblocks * blocksize)
    for (const { slot, offset, daddrs } of parts.values()) {
      const ino = inodes.ino(slot)
      let whole = true
      for (let i = 0; i < dirblocks; i++) {
        const daddr = daddrs[i]
        if (daddr === undefined) whole = false
        else this.#device.read(bytes.subarray(i * blocksize, (i + 1) * blocksize), daddr * BASIC_BLOCK)
      }
      if (whole) this.directories.block(slot, ino, offset, new DataView(bytes.buffer), daddrs[0] as number)
      else
        this.#faults.bad(
          'dir.block',
          ino,
          offset,
          `only ${Object.keys(daddrs).length} of ${dirblocks} filesystem blocks are mapped`,
        )
    }
  }

  #finish(inodes: Inodes): void {
    this.directories.finish(inodes)
    this.attributes.finish(inodes)
    this.#compareSizes(inodes)
    this.attributes.readValues(inodes)
    this.symlinks.finish()
  }

  /** Compare the sizes of directories and symbolic links with their content. */
  #compareSizes(inodes: Inodes): void {
    if (this.#faults.blind) return
    for (const { sizes } of [this.directories, this.symlinks]) {
      for (const [slot, expected] of sizes) {
        const found = inodes.size.get(slot)
        if (found !== expected)
          this.#findings.add('inode.count', { ino: inodes.ino(slot), field: 'core.size', found, expected })
      }
    }
  }
}

/** Maximum blocks that are sorted and read together. */
const AT_ONCE = 2 ** 20
