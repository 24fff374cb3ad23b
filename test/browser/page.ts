import { describeFinding, memoryDevice, mkfs, XfsError, XfsImage } from 'xfskit/browser'

/** Everything that a page does with an image, as JSON can hold it. */
export interface Seen {
  /** Path, type and permissions, size, and for files the sum of the content. */
  readonly files: readonly (readonly [path: string, mode: number, size: number, sum?: number])[]
  readonly findings: readonly string[]
  /** Findings after a byte of the first AGF was changed. */
  readonly damaged: readonly string[]
  readonly changed: { readonly text: string; readonly shared: boolean; readonly findings: readonly string[] }
  readonly made: { readonly sum: number; readonly names: readonly string[]; readonly findings: readonly string[] }
  readonly refused: string
}

/** What a page of a browser does; Node does the same in the tests. */
export async function visit(image: ArrayBuffer): Promise<Seen> {
  return { ...look(image), damaged: damage(image), changed: await change(image), made: make(), refused: refuse() }
}

function look(bytes: ArrayBuffer): Pick<Seen, 'files' | 'findings'> {
  const image = XfsImage.open(bytes)
  const text = new TextDecoder()
  const files = Array.from(image.walk('/', { sorted: true }), (visited) => {
    const path = text.decode(visited.path)
    const stats = visited.stat()
    return stats.isFile()
      ? ([path, stats.mode, stats.size, sum(image.readFile(`/${path}`))] as const)
      : ([path, stats.mode, stats.size] as const)
  })
  const findings = image.check().findings.list.map(describeFinding)
  image.close()
  return { files, findings }
}

function damage(image: ArrayBuffer): string[] {
  const bytes = new Uint8Array(image.slice())
  bytes[1000] = 1
  return XfsImage.open(bytes).check().findings.list.map(describeFinding)
}

async function change(bytes: ArrayBuffer): Promise<Seen['changed']> {
  const image = XfsImage.open(bytes, { write: true })
  image.mkdir('/new')
  image.writeFile('/new/text', 'written by a page\n'.repeat(1000))
  image.xattr.set('/new/text', 'user.origin', 'a page')
  await image.reflink('/new/text', '/new/clone')
  image.rm('/new/text')
  image.rename('/new/clone', '/new/name')
  await image.reflink('/new/name', '/new/copy')
  image.sync()
  const findings = image.check().findings.list.map(describeFinding)
  const text = image.readFile('/new/copy', 'utf8')
  const shared = [...image.extents('/new/copy')].every((extent) => extent.shared)
  image.close()
  return { text: text.slice(0, 20) + text.length, shared, findings }
}

/** Two filesystems: one of which every byte is known, and one with a random UUID. */
function make(): Seen['made'] {
  const known = memoryDevice(32 * 2 ** 20)
  mkfs(known, { uuid: '01234567-89ab-4def-8123-456789abcdef', time: { seconds: 1, nanoseconds: 2 }, generation: 3 })
  const all = new Uint8Array(known.size)
  known.read(all, 0)
  const random = memoryDevice(32 * 2 ** 20)
  mkfs(random)
  const image = XfsImage.open(random, { write: true })
  image.writeFile('/hello', 'hello\n')
  image.sync()
  const findings = image.check().findings.list.map(describeFinding)
  return { sum: sum(all), names: image.readdir('/'), findings }
}

/** Something else is recognized. */
function refuse(): string {
  const bytes = new Uint8Array(2 ** 20)
  bytes.set([0x1f, 0x8b])
  try {
    XfsImage.open(bytes)
  } catch (error) {
    if (error instanceof XfsError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'opened'
}

/** Looking up a global takes long in a context of node:vm. */
const { imul } = Math

/** FNV-1a. */
function sum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
