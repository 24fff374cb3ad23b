import type { Device } from '../../device/device.ts'
import { XfsError } from '../../errors.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { SYMLINK_MAXLEN, SymlinkHdr } from '../../format/symlink.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import { openInode } from '../../inode/inode.ts'
import { readSymlink } from '../../symlink.ts'
import { Volume } from '../../volume.ts'
import type { BlockFaults } from './blockfaults.ts'
import type { Scene } from './scene.ts'

/**
 * Symbolic links. Tests: their blocks, and that targets have no zero byte. Collects: lengths of
 * targets.
 */
export class SymlinkScan {
  /** The size of the target according to its blocks, by slot. */
  readonly sizes = new Map<number, number>()
  readonly #device: Device
  readonly #geometry: Geometry
  readonly #faults: BlockFaults
  /** Links with remote targets whose blocks are all sound. */
  readonly #inBlocks = new Set<number>()

  constructor({ device, geometry }: Scene, faults: BlockFaults) {
    this.#device = device
    this.#geometry = geometry
    this.#faults = faults
  }

  /** A target inside the inode. */
  local(ino: number, view: DataView, at: number, size: number): void {
    const target = new Uint8Array(view.buffer, view.byteOffset + at, size)
    if (target.includes(0)) this.#faults.bad('symlink.block', ino, 0, ZERO_IN_TARGET)
  }

  /** With small blocks a target may need several. An extent has one header. */
  extent(slot: number, ino: number, fsbno: number, count: number): void {
    const { blocksize, fsbToDaddr } = this.#geometry
    const blocks = Math.min(count, Math.ceil((2 * SYMLINK_MAXLEN) / blocksize))
    const bytes = new Uint8Array(blocks * blocksize)
    const daddr = fsbToDaddr(fsbno)
    this.#device.read(bytes, daddr * BASIC_BLOCK)
    this.block(slot, ino, new DataView(bytes.buffer), daddr)
  }

  block(slot: number, ino: number, view: DataView, daddr: number): void {
    if (!this.#faults.isSound('symlink.block', blockTypes.symlink, ino, 0, view, daddr)) return
    this.sizes.set(slot, (this.sizes.get(slot) ?? 0) + SymlinkHdr.fields.bytes.get(view, 0))
    this.#inBlocks.add(ino)
  }

  /** Read remote targets: their parts follow one another. */
  finish(): void {
    if (this.#inBlocks.size === 0) return
    const volume = Volume.open(this.#device)
    for (const ino of this.#inBlocks) {
      if (this.#faults.broken.has(ino)) continue
      this.#faults.guard('symlink.block', ino, () => {
        if (readSymlink(openInode(volume, ino)).includes(0)) throw new XfsError('CORRUPT', ZERO_IN_TARGET)
      })
    }
  }
}

const ZERO_IN_TARGET = 'a zero byte in its target'
