import { spawnSync } from 'node:child_process'
import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { daHash } from '../../src/format/dir.ts'
import type { Random } from '../support/random.ts'

/** Names with equal hash values, and the kernel's view of directories and attributes. */

/**
 * Another name of the same length and hash. The hash rotates by 7 bits per byte, so a change of bit
 * 0 in one byte is undone by a change of bit 7 in the next.
 */
export function collide(name: Uint8Array, at: number): Uint8Array | undefined {
  const other = name.slice()
  const left = other[at] as number
  const right = other[at + 1] as number
  // Bit 0 of the left byte and bit 7 of the right byte are one bit of the hash.
  const a = left ^ 1
  const b = right ^ 0x80
  if (a === 0x2f || b === 0x2f || a === 0 || b === 0) return undefined
  other[at] = a
  other[at + 1] = b
  return daHash(other) === daHash(name) ? other : undefined
}

/** Names of one hash value: 2^k of them, by changes at k places. */
export function collidingNames(base: string, places: number): Uint8Array[] {
  let names: Uint8Array[] = [new TextEncoder().encode(base)]
  for (let i = 0; i < places; i++) names = names.flatMap((name) => [name, collide(name, 2 * i) ?? name])
  return unique(names)
}

function unique(names: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(names.map((name) => [Buffer.from(name).toString('latin1'), name])).values()]
}

/** A name of any bytes except zero and slash. */
export function randomName(random: Random, most = 255): Uint8Array {
  const length = random.chance(0.9) ? 1 + random.int(Math.min(24, most)) : 1 + random.int(most)
  const name = random.bytes(length).map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte))
  return name[0] === 0x2e ? Uint8Array.of(0x62, ...name.subarray(1)) : name
}

export const key = (name: Uint8Array): string =>
  Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1')

/** Entries of a mounted directory: name (latin1) → inode number. */
export function kernelEntries(directory: string): Map<string, number> {
  const found = new Map<string, number>()
  for (const entry of readdirSync(Buffer.from(directory), { encoding: 'buffer' })) {
    const path = Buffer.concat([Buffer.from(`${directory}/`), entry])
    found.set(entry.toString('latin1'), lstatSync(path, { throwIfNoEntry: false })?.ino ?? 0)
  }
  return found
}

export const kernelLink = (path: string): Buffer => readlinkSync(path, { encoding: 'buffer' })

/**
 * The attributes of every file below a mounted directory: path → (name → value in hexadecimal).
 * Names are escaped as by getfattr.
 */
export function kernelAttributes(directory: string): Map<string, Map<string, string>> {
  const { stdout: text } = spawnSync('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', '.'], {
    cwd: directory, encoding: 'latin1', maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'ignore'],
  }) // biome-ignore format: as a table
  const found = new Map<string, Map<string, string>>()
  let current = new Map<string, string>()
  for (const line of text.split('\n')) {
    if (line.startsWith('# file: ')) {
      current = new Map()
      found.set(fromOctal(line.slice('# file: '.length)).replace(/^\.\//, ''), current)
    } else if (line.length > 0) {
      const equals = line.lastIndexOf('=0x')
      if (equals < 0) current.set(fromOctal(line.replace(/=(""|0s)?$/, '')), '')
      else current.set(fromOctal(line.slice(0, equals)), line.slice(equals + 3))
    }
  }
  return found
}

const fromOctal = (text: string): string =>
  text.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))

const PREFIXES = new Map([
  ['user.', 0],
  ['trusted.', 2],
  ['security.', 4],
])

/**
 * A Linux name of an attribute, split into namespace and name on disk. ACLs become trusted
 * SGI_ACL_*.
 */
export function splitAttrName(full: string): { space: number; name: Uint8Array } {
  for (const [prefix, space] of PREFIXES) {
    if (full.startsWith(prefix)) return { space, name: Buffer.from(full.slice(prefix.length), 'latin1') }
  }
  throw new Error(`attribute ${full}`)
}
