import { parentPointers } from '../../attr/parent.ts'
import { problemMask } from '../../check/facts.ts'
import { S_IFLNK, S_IFMT } from '../../check/observe/inodetable.ts'
import type { CheckResult } from '../../check/result.ts'
import type { Device } from '../../device/device.ts'
import { entries, isDots, lookup } from '../../dir/read.ts'
import { XfsError } from '../../errors.ts'
import { daHashIgnoringCase, fileTypeOfMode } from '../../format/dir.ts'
import { openInode } from '../../inode/inode.ts'
import { unlinkedInodes } from '../../inode/unlinked.ts'
import { sameBytes } from '../../util/samebytes.ts'
import { Volume } from '../../volume.ts'
import { salvageAttributes } from '../salvage/attributes.ts'
import { salvageDirectory } from '../salvage/directory.ts'
import { type FoundEntry, isInUse } from '../salvage/found.ts'
import { salvageTarget } from '../salvage/symlink.ts'
import { attributeProblems, directoryProblems } from './problems.ts'
import type { NameStep, Pointer } from './step.ts'
import { Tree } from './tree.ts'

/**
 * What is to be done about names, one kind after another; a check is made after each, because each
 * makes the next one visible.
 *
 *   content    directories, attribute forks and links are written anew from what is sound in them
 *   tree       disconnected inodes get a name, and directories the right ".."
 *   counts     link counts and parent pointers follow from the entries
 */
export function planNames(device: Device, result: CheckResult): NameStep[] {
  const plan = new NamePlan(device, result)
  for (const steps of [() => plan.content(), () => plan.tree(), () => plan.counts()]) {
    const planned = [...steps()]
    if (planned.length > 0) return planned
  }
  return []
}

const OF_DIRECTORIES = problemMask(directoryProblems)
const OF_TWICE = problemMask(['dir.twice'])
const OF_PARENT = problemMask(['dir.parent'])
const OF_ATTRIBUTES = problemMask(attributeProblems)
const OF_LINKS = problemMask(['symlink.block'])
const OF_POINTERS = problemMask(['parent.pointers'])

class NamePlan {
  readonly #device: Device
  readonly #result: CheckResult
  readonly #volume: Volume
  readonly #tree: Tree

  constructor(device: Device, result: CheckResult) {
    this.#device = device
    this.#result = result
    this.#volume = Volume.open(device, { needsRepair: true })
    this.#tree = new Tree(result)
  }

  // ---------------------------------------------------------------------------------------- content

  *content(): Generator<NameStep> {
    const { facts } = this.#result
    const { inodes } = this.#tree
    for (const slot of facts.inodes.with(OF_ATTRIBUTES)) {
      if (!isInUse(inodes, slot)) continue
      const attrs = salvageAttributes(this.#device, this.#volume, inodes, slot)
      yield { step: 'attributes', ino: inodes.ino(slot), attrs }
    }
    for (const slot of facts.inodes.with(OF_LINKS)) {
      if (!isInUse(inodes, slot) || (inodes.mode.get(slot) & S_IFMT) !== S_IFLNK) continue
      const ino = inodes.ino(slot)
      const target = salvageTarget(this.#device, inodes, slot)
      yield target ? { step: 'symlink', ino, target } : { step: 'discard', ino }
    }
    for (const slot of this.#wrongDirectories()) yield this.#directory(slot)
  }

  /** Directories to write anew. */
  #wrongDirectories(): Set<number> {
    const { facts } = this.#result
    const tree = this.#tree
    const wrong = new Set<number>()
    for (const slot of facts.inodes.with(OF_DIRECTORIES)) wrong.add(slot)
    for (const slot of facts.inodes.with(OF_PARENT)) if (!tree.dotdot.has(slot)) wrong.add(slot)
    // All entries for a directory but one are dropped.
    for (const slot of facts.inodes.with(OF_TWICE)) {
      const keeper = tree.keeperOf(slot)
      const above = tree.directoriesOf(slot)
      for (const dir of above) if (dir !== keeper || above.filter((one) => one === dir).length > 1) wrong.add(dir)
    }
    for (const slot of wrong) if (!isInUse(tree.inodes, slot) || !tree.isDirectory(slot)) wrong.delete(slot)
    return wrong
  }

  #directory(slot: number, without?: number): NameStep {
    const { inodes } = this.#tree
    const { parent, entries: found } = salvageDirectory(this.#device, inodes, slot)
    const kept = this.#sound(slot, found).filter(({ ino }) => ino !== without)
    const keeper = this.#tree.keeperOf(slot)
    const above = keeper === undefined ? (parent ?? 0) : inodes.ino(keeper)
    const { geometry } = inodes
    return {
      step: 'directory',
      ino: inodes.ino(slot),
      parent: geometry.validIno(above) ? above : geometry.sb.rootino,
      entries: kept,
      dropped: found.length - kept.length,
    }
  }

  /**
   * The entries that are sound: with a valid name, that no other entry has, of an inode in use. Of
   * two entries with one name, or for one directory, the one is kept that has a parent pointer.
   */
  #sound(slot: number, found: readonly FoundEntry[]): FoundEntry[] {
    const tree = this.#tree
    const { inodes } = tree
    const kept = new Map<string, FoundEntry>()
    const directories = new Map<number, Uint8Array>()
    for (const { name, ino } of found) {
      const target = inodes.slot(ino)
      if (!isInUse(inodes, target) || !tree.isDirectory(target)) continue
      if (!directories.has(target) || this.#hasPointer(target, slot, name)) directories.set(target, name)
    }
    for (const { name, ino } of found) {
      const target = inodes.slot(ino)
      const valid = this.#validName(name)
      if (!isInUse(inodes, target) || !valid) continue
      if (tree.isDirectory(target) && (directories.get(target) !== name || !this.#keeps(slot, target))) continue
      const entry = { name: valid, ino, ftype: fileTypeOfMode(inodes.mode.get(target)) }
      const key = this.#key(valid)
      const rival = kept.get(key)
      if (rival && (rival.ino === ino || !this.#hasPointer(target, slot, valid))) continue
      if (rival && this.#hasPointer(inodes.slot(rival.ino), slot, valid)) continue
      kept.set(key, entry)
    }
    return [...kept.values()]
  }

  /** May a directory have the entry of another? */
  #keeps(slot: number, target: number): boolean {
    const tree = this.#tree
    if (target === tree.root || target === slot) return false
    const keeper = tree.keeperOf(target)
    return keeper === undefined || keeper === slot
  }

  /**
   * A name that is valid. Without parent pointers, which still have the right name, invalid bytes
   * are replaced.
   */
  #validName(name: Uint8Array): Uint8Array | undefined {
    if (name.length === 0 || isDots(name)) return undefined
    if (!name.includes(0) && !name.includes(SLASH)) return name
    if (this.#volume.features.has('parent')) return undefined
    return name.map((byte) => (byte === 0 || byte === SLASH ? REPLACEMENT : byte))
  }

  #key(name: Uint8Array): string {
    const folded = this.#volume.features.has('asciici')
      ? name.map((byte) => daHashIgnoringCase(Uint8Array.of(byte)))
      : name
    return folded.join()
  }

  #hasPointer(slot: number, dir: number, name: Uint8Array): boolean {
    const ino = this.#tree.inodes.ino(dir)
    return this.#pointers(slot).some((pointer) => pointer.ino === ino && sameBytes(pointer.name, name))
  }

  /** The parent pointers of an inode, as far as they can be read. */
  #pointers(slot: number): Pointer[] {
    const pointers: Pointer[] = []
    try {
      for (const pointer of parentPointers(openInode(this.#volume, this.#tree.inodes.ino(slot)))) pointers.push(pointer)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
    }
    return pointers
  }

  // ------------------------------------------------------------------------------------------- tree

  *tree(): Generator<NameStep> {
    const tree = this.#tree
    const { inodes } = tree
    for (const slot of this.#result.facts.inodes.with(OF_PARENT)) {
      const keeper = tree.keeperOf(slot)
      if (keeper !== undefined) yield { step: 'parent', ino: inodes.ino(slot), parent: inodes.ino(keeper) }
    }
    yield* this.#lostLinks()
    const unlinked = this.#unlinked()
    let cycle: number | undefined
    let connected = false
    const taken = new Set<string>()
    for (const slot of tree.files()) {
      const directory = tree.isDirectory(slot)
      const above = tree.directoriesOf(slot)
      if (directory ? tree.reaches(slot) : above.length > 0) continue
      if (unlinked.has(inodes.ino(slot))) continue
      if (above.length > 0) cycle ??= slot
      else {
        connected = true
        yield this.#connect(slot, taken)
      }
    }
    // Directories in a circle: one of them is taken out.
    if (cycle !== undefined && !connected)
      yield this.#directory(tree.keeperOf(this.#onCycle(cycle)) as number, inodes.ino(this.#onCycle(cycle)))
  }

  /** Hard links that are lost: a parent pointer has them, and the link count counts them. */
  *#lostLinks(): Generator<NameStep> {
    const tree = this.#tree
    const { inodes } = tree
    for (const slot of this.#result.facts.inodes.with(OF_POINTERS)) {
      const links = tree.linksOf(slot)
      if (tree.isDirectory(slot) || links === 0 || inodes.nlink.get(slot) <= links) continue
      for (const { ino: parent, gen, name } of this.#pointers(slot)) {
        const dir = inodes.slot(parent)
        if (!this.#canHold(dir, gen) || !this.#validName(name) || this.#targetOf(parent, name) !== undefined) continue
        yield { step: 'connect', ino: inodes.ino(slot), dir: parent, name, replace: false }
      }
    }
  }

  /** Is it the directory of a parent pointer, and a part of the tree? */
  #canHold(dir: number, gen: number): boolean {
    const tree = this.#tree
    const { inodes } = tree
    if (dir !== tree.root && !(isInUse(inodes, dir) && inodes.gen.get(dir) === gen)) return false
    return tree.isDirectory(dir) && tree.reaches(dir)
  }

  /** A directory of the circle that is above a disconnected one. */
  #onCycle(slot: number): number {
    const seen = new Set<number>()
    let at = slot
    while (!seen.has(at)) {
      seen.add(at)
      at = this.#tree.keeperOf(at) as number
    }
    return at
  }

  /** Inodes that recovery will free: without links, on an unlinked list. */
  #unlinked(): Set<number> {
    const out = new Set<number>()
    for (let agno = 0; agno < this.#volume.geometry.agcount; agno++) {
      try {
        for (const ino of unlinkedInodes(this.#volume, agno)) out.add(ino)
      } catch (error) {
        if (!(error instanceof XfsError) || error.code === 'IO') throw error
      }
    }
    return out
  }

  /** A name for a disconnected inode: where a parent pointer still tells it, else in lost+found. */
  #connect(slot: number, taken: Set<string>): NameStep {
    const tree = this.#tree
    const { inodes } = tree
    const ino = inodes.ino(slot)
    for (const { ino: parent, gen, name } of this.#pointers(slot)) {
      const dir = inodes.slot(parent)
      if (dir === slot || !this.#canHold(dir, gen)) continue
      const place = `${dir}/${this.#key(name)}`
      if (taken.has(place) || !this.#validName(name)) continue
      const rival = this.#targetOf(parent, name)
      if (rival !== undefined && this.#hasPointer(rival, dir, name)) continue
      taken.add(place)
      return { step: 'connect', ino, dir: parent, name, replace: rival !== undefined }
    }
    return { step: 'connect', ino, dir: undefined, name: new TextEncoder().encode(String(ino)), replace: false }
  }

  /** The inode that a name of a directory points to. */
  #targetOf(dir: number, name: Uint8Array): number | undefined {
    const entry = lookup(openInode(this.#volume, dir), name)
    return entry && this.#tree.inodes.slot(entry.ino)
  }

  // ----------------------------------------------------------------------------------------- counts

  *counts(): Generator<NameStep> {
    const tree = this.#tree
    const { inodes } = tree
    const unlinked = this.#unlinked()
    for (const slot of [tree.root, ...tree.files()]) {
      const nlink = tree.linksOf(slot)
      if (inodes.nlink.get(slot) === nlink || (nlink === 0 && unlinked.has(inodes.ino(slot)))) continue
      yield { step: 'links', ino: inodes.ino(slot), nlink }
    }
    yield* this.#pointerSteps()
  }

  *#pointerSteps(): Generator<NameStep> {
    const { facts } = this.#result
    const { inodes } = this.#tree
    const wrong = new Set(facts.inodes.with(OF_POINTERS))
    if (wrong.size === 0) return
    const names = this.#namesOf(wrong)
    for (const slot of wrong) {
      const expected = names.get(slot) ?? []
      const found = this.#pointers(slot)
      const without = (list: readonly Pointer[], other: readonly Pointer[]): Pointer[] =>
        list.filter((a) => !other.some((b) => a.ino === b.ino && a.gen === b.gen && sameBytes(a.name, b.name)))
      const step = { ino: inodes.ino(slot), remove: without(found, expected), add: without(expected, found) }
      if (step.remove.length + step.add.length > 0) yield { step: 'pointers', ...step }
    }
  }

  /** The parent pointers that inodes should have. */
  #namesOf(slots: ReadonlySet<number>): Map<number, Pointer[]> {
    const { inodes } = this.#tree
    const out = new Map<number, Pointer[]>()
    const directories = new Set([...slots].flatMap((slot) => this.#tree.directoriesOf(slot)))
    for (const dir of directories) {
      const ino = inodes.ino(dir)
      for (const entry of entries(openInode(this.#volume, ino))) {
        const slot = inodes.slot(entry.ino)
        if (!slots.has(slot)) continue
        const pointer = { ino, gen: inodes.gen.get(dir), name: entry.name }
        const list = out.get(slot)
        if (list) list.push(pointer)
        else out.set(slot, [pointer])
      }
    }
    return out
  }
}

const SLASH = 0x2f
const REPLACEMENT = 0x5f
