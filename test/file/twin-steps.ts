import { ACL_TAGS, type AclEntry, aclToProgram } from '../../src/attr/acl.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import type { Random } from '../support/random.ts'
import { ALLOCATE_MODES, outcome, type Range, type RenameHow, type Twin } from './twin.ts'

/**
 * A random run, drawn from a model of the tree. The model selects operations worth trying, but does
 * not predict results. Every operation of the file and reflink rooms has its row in `kinds`.
 */

/** A name. */
interface Node {
  name: string
  parent: Node | undefined
  readonly kind: 'dir' | 'file' | 'link' | 'special'
  readonly children: Set<Node>
  /** Many other names, created and removed in bulk. */
  readonly bulk: string[]
  readonly xattrs: Set<string>
  /** Its size as known to the model, shared by all names of a file. */
  readonly extent: { size: number; used: boolean }
}

export interface Step {
  readonly text: string
  run(twin: Twin): string
  /** Called after success, to update the model. */
  done?(): void
}

export interface World {
  readonly root: Node
  readonly blocksize: number
  readonly reflink: boolean
  readonly bigtime: boolean
  /** From this size on the kernel preallocates past EOF of a growing file, by rules of its own. */
  readonly growLimit: number
  serial: number
}

const node = (name: string, kind: Node['kind'], parent?: Node, of?: Node): Node => ({
  name,
  kind,
  parent,
  children: new Set(),
  bulk: [],
  xattrs: of?.xattrs ?? new Set(),
  extent: of?.extent ?? { size: 0, used: false },
})

export const newWorld = (options: Omit<World, 'root' | 'serial'>): World => ({
  ...options,
  root: node('', 'dir'),
  serial: 0,
})

const pathOf = ({ name, parent }: Node): string => (parent ? (parent.parent ? `${pathOf(parent)}/${name}` : name) : '')
const inside = (dir: Node, name: string): string => (dir.parent ? `${pathOf(dir)}/${name}` : name)

function* below(dir: Node): Generator<Node> {
  for (const child of dir.children) {
    yield child
    yield* below(child)
  }
}

const FILE_BLOCKS = 40
const MOST_NODES = 160
const MOST_BULK = 900
const NAME_LENGTHS = [1, 3, 8, 8, 20, 20, 60, 140, 255]

// ----------------------------------------------------------------------------------------- drawing

interface Draw {
  readonly r: Random
  readonly world: World
  readonly nodes: readonly Node[]
  dir(): Node
  file(): Node
  any(): Node
  free(): string
}

function drawer(r: Random, world: World): Draw {
  const nodes = [...below(world.root)]
  const files = nodes.filter(({ kind }) => kind === 'file')
  const dirs = nodes.filter(({ kind }) => kind === 'dir')
  return {
    r,
    world,
    nodes,
    dir: () => (dirs.length === 0 || r.chance(0.15) ? world.root : r.pick(dirs)),
    file: () => (files.length === 0 ? node('none', 'file', world.root) : r.pick(files)),
    any: () => (nodes.length === 0 ? node('none', 'file', world.root) : r.pick(nodes)),
    free: () => freeName(r, world),
  }
}

/** Most names are letters; some have any byte that is valid in a name. */
function freeName(r: Random, world: World): string {
  const serial = (world.serial++).toString(36)
  const length = Math.max(serial.length + 1, r.pick(NAME_LENGTHS))
  const wild = r.chance(0.1)
  const rest = Array.from({ length: length - serial.length }, () => {
    const byte = wild ? r.int(256) : 97 + r.int(26)
    return String.fromCharCode(byte === 0 || byte === 0x2f ? 0x5f : byte)
  })
  return `${serial}${rest.join('')}`.slice(0, 255)
}

function content(r: Random, length: number): Uint8Array {
  if (r.chance(0.3)) return r.bytes(length)
  return new Uint8Array(length).fill(r.int(4))
}

interface Place {
  readonly offset: number
  readonly length: number
}

/** A range of a file, aligned to blocks or not. */
function place({ r, world: { blocksize } }: Draw, aligned: boolean, most = 12): Place {
  const offset = r.int(FILE_BLOCKS) * blocksize
  const length = (1 + r.int(most)) * blocksize
  if (aligned) return { offset, length }
  const odd = r.int(blocksize)
  return { offset: offset + odd, length: Math.max(1, length - r.int(blocksize)) }
}

const attach = (node: Node, dir: Node): void => {
  node.parent?.children.delete(node)
  node.parent = dir
  dir.children.add(node)
}
const detach = (node: Node): void => void node.parent?.children.delete(node)

// --------------------------------------------------------------------------------------- the kinds

type Kind = (draw: Draw) => Step | undefined

function add(draw: Draw, kind: Node['kind'], text: string, run: (twin: Twin, path: string) => void): Step {
  const dir = draw.dir()
  const name = draw.free()
  const path = inside(dir, name)
  return {
    text: `${text} ${path}`,
    run: (twin) => outcome(() => run(twin, path)),
    done: () => void dir.children.add(node(name, kind, dir)),
  }
}

const create: Kind = (draw) => {
  const mode = draw.r.pick([0o644, 0o600, 0o755, 0o4755, 0o2775, 0o666])
  return add(draw, 'file', `create ${mode.toString(8)}`, (twin, path) => twin.create(path, mode))
}

const mkdir: Kind = (draw) => {
  const mode = draw.r.pick([0o755, 0o700, 0o777, 0o1777])
  return add(draw, 'dir', `mkdir ${mode.toString(8)}`, (twin, path) => twin.mkdir(path, mode))
}

const symlink: Kind = (draw) => {
  const length = draw.r.pick([1, 10, 100, 250, 340, 500, 1023])
  const target = Array.from({ length }, () => String.fromCharCode(97 + draw.r.int(26))).join('')
  return add(draw, 'link', `symlink ${length}`, (twin, path) => twin.symlink(target, path))
}

const mknod: Kind = (draw) => {
  const type = draw.r.pick([FILE_TYPES.chr, FILE_TYPES.blk, FILE_TYPES.fifo, FILE_TYPES.sock])
  const device =
    type === FILE_TYPES.chr || type === FILE_TYPES.blk
      ? { major: draw.r.int(300), minor: draw.r.int(70000) }
      : { major: 0, minor: 0 }
  return add(draw, 'special', `mknod ${type.toString(8)} ${device.major}:${device.minor}`, (twin, path) =>
    twin.mknod(path, type | 0o644, device),
  )
}

const link: Kind = (draw) => {
  const from = draw.any()
  if (from.kind === 'dir' && !draw.r.chance(0.05)) return undefined
  const dir = draw.dir()
  const name = draw.free()
  return {
    text: `link ${pathOf(from)} ${inside(dir, name)}`,
    run: (twin) => outcome(() => twin.link(pathOf(from), inside(dir, name))),
    done: () => void dir.children.add(node(name, from.kind, dir, from)),
  }
}

const unlink: Kind = (draw) => {
  const victim = draw.any()
  const path = pathOf(victim)
  return { text: `unlink ${path}`, run: (twin) => outcome(() => twin.unlink(path)), done: () => detach(victim) }
}

const rmdir: Kind = (draw) => {
  const victim = draw.dir()
  if (!victim.parent) return undefined
  const path = pathOf(victim)
  return { text: `rmdir ${path}`, run: (twin) => outcome(() => twin.rmdir(path)), done: () => detach(victim) }
}

/** Remove a directory with its contents. */
const removeTree: Kind = (draw) => {
  const victim = draw.dir()
  if (!victim.parent || (draw.nodes.length < MOST_NODES && !draw.r.chance(0.2))) return undefined
  const steps: { path: string; dir: boolean }[] = []
  const collect = (dir: Node): void => {
    for (const name of dir.bulk) steps.push({ path: inside(dir, name), dir: false })
    for (const child of dir.children) {
      if (child.kind === 'dir') collect(child)
      else steps.push({ path: pathOf(child), dir: false })
    }
    steps.push({ path: pathOf(dir), dir: true })
  }
  collect(victim)
  return {
    text: `remove tree ${pathOf(victim)} (${steps.length})`,
    run: (twin) =>
      outcome(() => {
        for (const { path, dir } of steps) dir ? twin.rmdir(path) : twin.unlink(path)
      }),
    done: () => detach(victim),
  }
}

const rename: Kind = (draw) => {
  const { r } = draw
  const source = draw.any()
  const existing = r.chance(0.5)
  const how: RenameHow = existing
    ? r.pick(['replace', 'replace', 'refuse', 'exchange', 'exchange'] as const)
    : r.pick(['replace', 'replace', 'refuse', 'exchange'] as const)
  const target = existing ? draw.any() : undefined
  const dir = target
    ? (target.parent ?? draw.world.root)
    : r.chance(0.4)
      ? (source.parent ?? draw.world.root)
      : draw.dir()
  const name = target?.name ?? draw.free()
  const [from, to] = [pathOf(source), inside(dir, name)]
  const sameFile = target !== undefined && target !== source && target.extent === source.extent
  return {
    text: `rename ${how} ${from} ${to}`,
    // If a directory that is not empty is replaced, both errors mean the same.
    run: (twin) => outcome(() => twin.rename(from, to, how)).replace('ENOTEMPTY', 'EEXIST'),
    done() {
      if (source === target || (sameFile && how !== 'exchange')) return
      if (target && how === 'exchange') {
        const home = source.parent as Node
        const old = source.name
        attach(source, dir)
        attach(target, home)
        source.name = target.name
        target.name = old
        return
      }
      if (target) detach(target)
      attach(source, dir)
      source.name = name
    },
  }
}

const write: Kind = (draw) => {
  const { r, world } = draw
  const file = draw.file()
  const { size } = file.extent
  const limit = Math.min(world.growLimit, FILE_BLOCKS * world.blocksize)
  let { offset, length } = place(draw, r.chance(0.3))
  if (r.chance(0.3)) offset = Math.min(size, limit)
  if (r.chance(0.02) && world.growLimit === Number.POSITIVE_INFINITY) offset += 2 ** 32 * r.pick([1, 3, 1000])
  if (r.chance(0.2)) length = 1 + r.int(100)
  // If the kernel would preallocate, the file does not grow by writing.
  if (offset + length > size && size >= world.growLimit) return undefined
  const bytes = content(r, length)
  return {
    text: `write ${pathOf(file)} ${offset} ${length}`,
    run: (twin) => outcome(() => twin.write(pathOf(file), offset, bytes)),
    done: () => grown(file, offset + length),
  }
}

function grown(file: Node, size: number): void {
  file.extent.size = Math.max(file.extent.size, size)
  file.extent.used = true
}

const truncate: Kind = (draw) => {
  const { r, world } = draw
  const file = draw.file()
  const { size } = file.extent
  let to = r.chance(0.5) ? r.int(size + 1) : place(draw, r.chance(0.3)).offset
  if (r.chance(0.02)) to += 2 ** 33
  if (r.chance(0.1)) to = 0
  if (r.chance(0.1)) to -= to % world.blocksize
  return {
    text: `truncate ${pathOf(file)} ${to}`,
    run: (twin) => outcome(() => twin.truncate(pathOf(file), to)),
    done: () => {
      file.extent.size = to
    },
  }
}

const allocate: Kind = (draw) => {
  const { r } = draw
  const file = draw.file()
  const mode = r.pick(ALLOCATE_MODES)
  const moving = mode === 'collapse' || mode === 'insert'
  const { offset, length } = place(draw, moving || r.chance(0.4), moving ? 6 : 12)
  if (mode === 'insert' && file.extent.size > 3 * FILE_BLOCKS * draw.world.blocksize) return undefined
  // In the kernel a refused call changes times and capabilities before it is refused.
  if (mode === 'collapse' && offset + length >= file.extent.size) return undefined
  if (mode === 'insert' && offset >= file.extent.size) return undefined
  return {
    text: `${mode} ${pathOf(file)} ${offset} ${length}`,
    run: (twin) => outcome(() => twin.allocate(pathOf(file), mode, offset, length)),
    done() {
      file.extent.used = true
      if (mode === 'collapse') file.extent.size -= length
      else if (mode === 'insert') file.extent.size += length
      else if (mode === 'alloc' || mode === 'zero' || mode === 'unshare') grown(file, offset + length)
    },
  }
}

function range(draw: Draw, from: Node, same: boolean): Range {
  const { r, world } = draw
  const { offset, length } = place(draw, r.chance(0.95))
  const dstOffset = same ? offset : r.int(FILE_BLOCKS) * world.blocksize
  if (!same && r.chance(0.25)) return { srcOffset: 0, dstOffset: 0, length: 0 }
  const toEnd = from.extent.size - offset
  return { srcOffset: offset, dstOffset, length: toEnd > 0 && toEnd < length && r.chance(0.7) ? toEnd : length }
}

const clone: Kind = (draw) => {
  if (!draw.world.reflink) return undefined
  const [from, to] = [draw.file(), draw.file()]
  const part = range(draw, from, false)
  const { srcOffset, dstOffset, length } = part
  return {
    text: `clone ${pathOf(from)} ${pathOf(to)} ${srcOffset} ${dstOffset} ${length}`,
    run: (twin) => outcome(() => twin.clone(pathOf(from), pathOf(to), part)),
    done: () => grown(to, dstOffset + (length === 0 ? from.extent.size - srcOffset : length)),
  }
}

const dedupe: Kind = (draw) => {
  if (!draw.world.reflink) return undefined
  const [from, to] = [draw.file(), draw.file()]
  const part = range(draw, from, draw.r.chance(0.7))
  const { srcOffset, dstOffset, length } = part
  return {
    text: `dedupe ${pathOf(from)} ${pathOf(to)} ${srcOffset} ${dstOffset} ${length}`,
    run: (twin) => outcome(() => twin.dedupe(pathOf(from), pathOf(to), part)),
  }
}

const chmod: Kind = (draw) => {
  const target = draw.any()
  if (target.kind === 'link') return undefined
  const mode = draw.r.pick([0o644, 0o600, 0o755, 0o4755, 0o2755, 0o2777, 0o1777, 0o6711, 0, 0o7777])
  return {
    text: `chmod ${mode.toString(8)} ${pathOf(target)}`,
    run: (twin) => outcome(() => twin.chmod(pathOf(target), mode)),
  }
}

const chown: Kind = (draw) => {
  const target = draw.any()
  const [uid, gid] = [draw.r.pick([0, 1, 1000, 65534, 2 ** 31]), draw.r.pick([0, 5, 1000, 4_000_000_000])]
  return {
    text: `chown ${uid}:${gid} ${pathOf(target)}`,
    run: (twin) => outcome(() => twin.chown(pathOf(target), uid, gid)),
  }
}

const setTimes: Kind = (draw) => {
  const target = draw.any()
  const { r } = draw
  const time = (): bigint => {
    const seconds =
      r.chance(0.2) && draw.world.bigtime ? 2 ** 33 + r.int(2 ** 31) : r.chance(0.2) ? -r.int(2 ** 30) : r.int(2 ** 30)
    return BigInt(seconds) * 1_000_000_000n + BigInt(r.int(1_000_000_000))
  }
  const [atime, mtime] = [time(), time()]
  return {
    text: `times ${atime} ${mtime} ${pathOf(target)}`,
    run: (twin) => outcome(() => twin.setTimes(pathOf(target), atime, mtime)),
  }
}

/** Permanent flags, project, hints. */
const attributes: Kind = (draw) => {
  const { r, world } = draw
  const target = r.chance(0.4) ? draw.dir() : draw.file()
  const letters = target.kind === 'dir' ? 'sAdPnfS' : 'sAdfS'
  // If a file was written to, blocks in memory can prevent another hint in the kernel.
  const choice = r.int(target.extent.used ? 4 : 5)
  const changes =
    choice === 0
      ? { set: r.pick([...letters]) }
      : choice === 1
        ? { clear: r.pick([...letters]) }
        : choice === 2
          ? { projid: r.pick([0, 1, 42, 70000]) }
          : choice === 4
            ? { extsize: r.pick([0, 2, 4]) * world.blocksize }
            : world.reflink
              ? { cowextsize: r.pick([0, 4, 8]) * world.blocksize }
              : {}
  return {
    text: `attributes ${pathOf(target)} ${JSON.stringify(changes)}`,
    run: (twin) => outcome(() => twin.attributes(pathOf(target), changes)),
  }
}

/** Set a flag that forbids operations, try one of them, and clear the flag. */
const guarded: Kind = (draw) => {
  const { r } = draw
  const target = r.chance(0.4) ? draw.dir() : draw.file()
  if (target.name === 'none' || !target.parent) return undefined
  const flag = r.pick(['i', 'a'])
  const path = pathOf(target)
  const inner: readonly Kind[] =
    flag === 'i'
      ? [
          unlink,
          rename,
          link,
          create,
          mkdir,
          chmod,
          chown,
          setTimes,
          setXattr,
          removeXattr,
          write,
          truncate,
          allocate,
          clone,
          dedupe,
          rmdir,
        ]
      : [unlink, rename, link, create, mkdir, chmod, chown, setTimes, setXattr, removeXattr, truncate, rmdir]
  // With two chances in three it concerns the file itself. A rename always does, so that the
  // flagged file keeps its path.
  const kind = r.pick(inner)
  const about = { any: () => target, file: () => target, dir: () => (target.kind === 'dir' ? target : draw.dir()) }
  const step = kind(kind === rename || r.chance(0.66) ? { ...draw, ...about } : draw)
  if (!step) return undefined
  let inside = ''
  return {
    text: `with +${flag} on ${path}: ${step.text}`,
    run(twin) {
      const on = outcome(() => twin.attributes(path, { set: flag }))
      if (on !== 'ok') return on
      inside = step.run(twin)
      return `${inside} ${outcome(() => twin.attributes(path, { clear: flag }))}`
    },
    done: () => {
      if (inside === 'ok') step.done?.()
    },
  }
}

const VALUE_LENGTHS = [0, 1, 20, 20, 60, 200, 700, 1500, 3000, 9000, 30000, 65536]

function setXattr(draw: Draw): Step | undefined {
  const { r } = draw
  const target = r.chance(0.2) ? draw.any() : r.chance(0.3) ? draw.dir() : draw.file()
  const space = r.pick(['user.', 'user.', 'trusted.', 'security.'])
  const known = [...target.xattrs]
  const name = known.length > 0 && r.chance(0.4) ? r.pick(known) : `${space}${draw.free().slice(0, 200)}`
  const mode = r.chance(0.8) ? 'any' : r.pick(['create', 'replace'] as const)
  const value = r.bytes(r.pick(VALUE_LENGTHS))
  return {
    text: `setxattr ${pathOf(target)} ${name} ${value.length} ${mode}`,
    run: (twin) => outcome(() => twin.setXattr(pathOf(target), name, value, mode)),
    done: () => void target.xattrs.add(name),
  }
}

function removeXattr(draw: Draw): Step | undefined {
  const { r } = draw
  const having = draw.nodes.filter(({ xattrs }) => xattrs.size > 0)
  const target = having.length > 0 && r.chance(0.9) ? r.pick(having) : draw.any()
  const name = target.xattrs.size > 0 ? r.pick([...target.xattrs]) : 'user.none'
  return {
    text: `removexattr ${pathOf(target)} ${name}`,
    run: (twin) => outcome(() => twin.removeXattr(pathOf(target), name)),
    done: () => void target.xattrs.delete(name),
  }
}

/** Set dozens of attributes, or remove all. */
const manyXattrs: Kind = (draw) => {
  const { r } = draw
  const target = r.chance(0.3) ? draw.dir() : draw.file()
  const path = pathOf(target)
  if (target.xattrs.size > 40 || (target.xattrs.size > 5 && r.chance(0.5))) {
    const names = [...target.xattrs].slice(r.int(3))
    return {
      text: `remove ${names.length} xattrs of ${path}`,
      run: (twin) => names.map((name) => outcome(() => twin.removeXattr(path, name))).join(),
      done: () => target.xattrs.clear(),
    }
  }
  const list = Array.from({ length: 5 + r.int(60) }, (_, i) => ({
    name: `user.${i}-${draw.free().slice(0, 60)}`,
    value: r.bytes(r.pick([5, 40, 100, 400])),
  }))
  return {
    text: `set ${list.length} xattrs of ${path}`,
    run: (twin) =>
      outcome(() => {
        for (const { name, value } of list) twin.setXattr(path, name, value, 'any')
      }),
    done() {
      for (const { name } of list) target.xattrs.add(name)
    },
  }
}

const acl: Kind = (draw) => {
  const { r } = draw
  const directory = r.chance(0.5)
  const target = directory ? draw.dir() : draw.file()
  const kind = directory && r.chance(0.6) ? 'default' : 'access'
  const name = `system.posix_acl_${kind}`
  if (r.chance(0.2)) {
    return {
      text: `remove ${kind} acl of ${pathOf(target)}`,
      run: (twin) => outcome(() => twin.removeXattr(pathOf(target), name)),
    }
  }
  const perm = (): number => r.int(8)
  const named = r.int(5)
  const entries: AclEntry[] = [
    { tag: ACL_TAGS.userObj, id: -1, perm: perm() },
    ...Array.from({ length: named }, (_, i) => ({ tag: ACL_TAGS.user, id: 1000 + i, perm: perm() })),
    { tag: ACL_TAGS.groupObj, id: -1, perm: perm() },
    ...Array.from({ length: r.int(3) }, (_, i) => ({ tag: ACL_TAGS.group, id: 50 + i, perm: perm() })),
    ...(named > 0 || r.chance(0.7) ? [{ tag: ACL_TAGS.mask, id: -1, perm: perm() }] : []),
    { tag: ACL_TAGS.other, id: -1, perm: perm() },
  ]
  const value = aclToProgram(entries)
  return {
    text: `${kind} acl of ${pathOf(target)} (${entries.length})`,
    run: (twin) => outcome(() => twin.setXattr(pathOf(target), name, value, 'any')),
  }
}

/** File capabilities: changing the content of a file removes them. */
const capability: Kind = (draw) => {
  const target = draw.file()
  const value = Buffer.from('0000000200040000000000000000000000000000', 'hex')
  return {
    text: `capability of ${pathOf(target)}`,
    run: (twin) => outcome(() => twin.setXattr(pathOf(target), 'security.capability', value, 'any')),
  }
}

/** Many names in one directory, new files or links to one. */
const fill: Kind = (draw) => {
  const { r } = draw
  const dir = draw.dir()
  const all = [...below(draw.world.root)].reduce((sum, { bulk }) => sum + bulk.length, draw.world.root.bulk.length)
  if (all > MOST_BULK) return undefined
  const count = r.pick([10, 40, 120, 300])
  const length = r.pick([6, 20, 100, 200])
  const prefix = (draw.world.serial++).toString(36)
  const names = Array.from({ length: count }, (_, i) => `${prefix}_${i}_`.padEnd(length, 'y'))
  const links = r.chance(0.6)
  return {
    text: `fill ${pathOf(dir)} with ${count} ${links ? 'links' : 'files'} of ${length} bytes, ${prefix}`,
    run: (twin) =>
      outcome(() => {
        for (const [i, name] of names.entries()) {
          if (links && i > 0) twin.link(inside(dir, names[0] as string), inside(dir, name))
          else twin.create(inside(dir, name), 0o644)
        }
      }),
    done: () => void dir.bulk.push(...names),
  }
}

const thin: Kind = (draw) => {
  const { r } = draw
  const full = [draw.world.root, ...draw.nodes].filter(({ bulk }) => bulk.length > 0)
  if (full.length === 0) return undefined
  const dir = r.pick(full)
  const gone = r.chance(0.4) ? [...dir.bulk] : dir.bulk.filter(() => r.chance(0.6))
  return {
    text: `thin ${pathOf(dir)} by ${gone.length}`,
    run: (twin) =>
      outcome(() => {
        for (const name of gone) twin.unlink(inside(dir, name))
      }),
    done() {
      const set = new Set(gone)
      dir.bulk.splice(0, dir.bulk.length, ...dir.bulk.filter((name) => !set.has(name)))
    },
  }
}

const kinds: readonly (readonly [weight: number, name: string, kind: Kind])[] = [
  [8, 'create', create], [4, 'mkdir', mkdir], [3, 'symlink', symlink], [2, 'mknod', mknod], [5, 'link', link], [5, 'unlink', unlink], [2, 'rmdir', rmdir],
  [2, 'removeTree', removeTree], [10, 'rename', rename], [14, 'write', write], [6, 'truncate', truncate], [14, 'allocate', allocate], [8, 'clone', clone],
  [4, 'dedupe', dedupe], [3, 'chmod', chmod], [3, 'chown', chown], [4, 'setTimes', setTimes], [6, 'attributes', attributes], [4, 'guarded', guarded],
  [7, 'setXattr', setXattr], [4, 'removeXattr', removeXattr], [2, 'manyXattrs', manyXattrs], [3, 'acl', acl], [2, 'capability', capability], [2, 'fill', fill], [2, 'thin', thin],
] // biome-ignore format: a table

const total = kinds.reduce((sum, [weight]) => sum + weight, 0)

function rowAt(point: number): (typeof kinds)[number] | undefined {
  let left = point
  for (const row of kinds) {
    left -= row[0]
    if (left < 0) return row
  }
  return undefined
}

/** The next step. */
export function nextStep(r: Random, world: World): Step {
  for (;;) {
    const draw = drawer(r, world)
    if (draw.nodes.length < 12) return r.chance(0.3) ? (mkdir(draw) as Step) : (create(draw) as Step)
    const row = rowAt(r.int(total))
    const crowded =
      draw.nodes.length > MOST_NODES &&
      (row?.[1] === 'create' || row?.[1] === 'mkdir' || row?.[1] === 'symlink' || row?.[1] === 'mknod')
    const step = crowded ? removeTree(draw) : row?.[2](draw)
    if (step) return step
  }
}
