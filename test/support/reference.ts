import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import type { Device } from '../../src/device/device.ts'
import { createFile, openFile } from '../../src/device/file.ts'
import { repoRoot } from './temp.ts'

/**
 * Recorded output of the reference tools and the kernel, in test/reference, for tests on machines
 * without them. If they are present they are called each time.
 *
 * Answers: one file per test file. Images: one file each, with the blocks that are not zero. `node
 * .tools/record.js TESTFILE...` records them again, as root with xfsprogs.
 */

/** Record the answers? */
export const recording = process.env['XFSKIT_RECORD'] === '1'

const folder = join(repoRoot(), 'test', 'reference')

/** The current test file, as room-name. */
const [, room, name] = /([^/\\]+)[/\\]([^/\\]+)\.test\.[jt]s$/.exec(process.argv[1] ?? '') ?? []
const file = join(folder, `${room}-${name}.json.br`)

type Answers = Record<string, unknown>
let known: Answers | undefined
const asked: Answers = {}
const times = new Map<string, number>()

const compress = (bytes: Uint8Array): Buffer =>
  brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_LGWIN]: 24 },
  })

/**
 * The answer to a question: of `ask` if it can be called, else the recorded one. If a test file
 * asks the same question again, it is a new question.
 * @param present  can `ask` be called here?
 * @param question  identifies it in this test file; without paths of this machine
 * @returns the result of `ask`, which is JSON
 * @throws Error if it cannot be called and was not recorded
 */
export function reference<T>(present: boolean, question: string, ask: () => T): T {
  const count = (times.get(question) ?? 0) + 1
  times.set(question, count)
  const key = createHash('sha256').update(`${question} ${count}`).digest('base64url').slice(0, 12)
  if (present) {
    const answer = ask()
    if (recording) keep(key, answer)
    return answer
  }
  known ??= existsSync(file) ? (JSON.parse(brotliDecompressSync(readFileSync(file)).toString()) as Answers) : {}
  if (!(key in known)) throw new Error(`no recorded answer to this (node .tools/record.js): ${question}`)
  return known[key] as T
}

function keep(key: string, answer: unknown): void {
  if (Object.keys(asked).length === 0)
    process.once('exit', () => {
      mkdirSync(folder, { recursive: true })
      writeFileSync(file, compress(Buffer.from(JSON.stringify(asked))))
    })
  asked[key] = answer
}

const BLOCK = 4096
const ZERO = new Uint8Array(BLOCK)

/**
 * The blocks of a device that are not zero, with their places. Holes are skipped if `ranges` lists
 * the data.
 */
export function* contentOf(
  device: Device,
  ranges: Iterable<{ readonly start: number; readonly end: number }> = [{ start: 0, end: device.size }],
): Generator<{ readonly at: number; readonly bytes: Uint8Array }> {
  const piece = new Uint8Array(2 ** 20)
  let next = 0
  for (const { start, end } of ranges) {
    for (let from = Math.max(next, start - (start % BLOCK)); from < end; from += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, device.size - from))
      device.read(part, from)
      for (let at = 0; at < part.length && from + at < end; at += BLOCK) {
        const bytes = part.subarray(at, at + BLOCK)
        if (Buffer.compare(bytes, ZERO.subarray(0, bytes.length)) !== 0) yield { at: from + at, bytes: bytes.slice() }
      }
    }
    next = Math.max(next, Math.ceil(end / BLOCK) * BLOCK)
  }
}

/**
 * A digest of the size and the content. @param ranges  as for contentOf: ascending, containing all
 * data
 */
export function digestOf(device: Device, ranges?: Iterable<{ readonly start: number; readonly end: number }>): string {
  const hash = createHash('sha256').update(`${device.size}`)
  for (const { at, bytes } of contentOf(device, ranges)) hash.update(`@${at}:`).update(bytes)
  return hash.digest('base64url')
}

/** The digest of an image file. */
export function fileDigest(path: string): string {
  const device = openFile(path, 'r')
  try {
    return digestOf(device)
  } finally {
    device.close()
  }
}

/**
 * Write the recorded image of that name to `path`. When recording, record the image that `make`
 * writes there.
 * @param fresh  make the image, even if there is a recorded one
 */
export function referenceImage(name: string, path: string, make: () => void, fresh = false): void {
  const packed = join(folder, 'images', `${name}.br`)
  const again = process.env['XFSKIT_RECORD_IMAGES'] === '1'
  if (fresh || again) {
    make()
    if (again) {
      mkdirSync(join(folder, 'images'), { recursive: true })
      writeFileSync(packed, compress(pack(path)))
    }
    return
  }
  if (!existsSync(packed)) throw new Error(`${basename(packed)} is not recorded (node .tools/record.js --images)`)
  unpack(brotliDecompressSync(readFileSync(packed)), path)
}

/** Size, number of blocks, their places, their bytes. */
function pack(path: string): Buffer {
  const device = openFile(path, 'r')
  const blocks = [...contentOf(device)]
  const head = Buffer.alloc(16 + 8 * blocks.length)
  head.writeDoubleLE(device.size, 0)
  head.writeDoubleLE(blocks.length, 8)
  blocks.forEach(({ at }, i) => {
    head.writeDoubleLE(at, 16 + 8 * i)
  })
  device.close()
  return Buffer.concat([head, ...blocks.map(({ bytes }) => bytes)])
}

function unpack(packed: Buffer, path: string): void {
  const device = createFile(path, packed.readDoubleLE(0))
  const count = packed.readDoubleLE(8)
  let from = 16 + 8 * count
  for (let i = 0; i < count; i++) {
    const at = packed.readDoubleLE(16 + 8 * i)
    const length = Math.min(BLOCK, device.size - at)
    device.write(packed.subarray(from, from + length), at)
    from += length
  }
  device.close()
}
