// biome-ignore-all format: a table, a case a row
import type { FileSystem } from './filesystem.ts'

/**
 * The effects of FICLONERANGE, FIDEDUPERANGE and FALLOC_FL_UNSHARE_RANGE, case by case. A case runs
 * the same steps on xfskit and, if there is a kernel, on a twin image with the kernel. Both must
 * return `result` and the block maps: `[start+length flags]` in blocks, S shared, U unwritten.
 */
export interface Case {
  readonly name: string
  readonly steps: (fs: FileSystem, B: number) => string
  /** Of the last step: "ok", an errno name, or for dedupe "SAME bytes", "DIFFERS 0". */
  readonly result: string
  readonly maps?: Readonly<Record<string, string>>
  readonly sizes?: Readonly<Record<string, number>>
}

const B = 4096
const MAX = 2n ** 63n

/** `blocks` blocks of different content: block i of a file with a seed holds the byte seed + i. */
const fill = (fs: FileSystem, path: string, blocks: number, seed = 1): void => {
  for (let i = 0; i < blocks; i++) fs.pwrite(path, i * B, B, seed + i)
}

/** data, hole, data, hole, two unwritten blocks. */
const mixed = (fs: FileSystem, path: string): void => {
  fs.pwrite(path, 0, B, 1)
  fs.pwrite(path, 2 * B, B, 2)
  fs.falloc(path, 4 * B, 2 * B)
}

export const cases: readonly Case[] = [
  // --------------------------------------------------------------------------------- clone: ranges
  { name: 'clone: a whole file to a new file', result: 'ok', maps: { a: '0+4S', b: '0+4S' }, sizes: { b: 4 * B },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 0, 0, 4 * B) } },
  { name: 'clone: length 0 from block 1 means to the end', result: 'ok', maps: { b: '0+3S' }, sizes: { b: 3 * B },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', B, 0, 0) } },
  { name: 'clone: length 0 at the end of the source does nothing', result: 'ok', maps: { b: '' }, sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 4 * B, 0, 0) } },
  { name: 'clone: length 0 past the end of the source', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 5 * B, 0, 0) } },
  { name: 'clone: a length at the end of the source', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 4 * B, 0, B) } },
  { name: 'clone: a range past the end of the source', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 2 * B, 0, 3 * B) } },
  { name: 'clone: unaligned source offset', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 100, 0, B) } },
  { name: 'clone: unaligned destination offset', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 0, 100, B) } },
  { name: 'clone: unaligned length that does not end at the end of the source', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 0, 0, B + 100) } },
  { name: 'clone: less than a block', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'b', 0, 0, 100) } },
  // ---------------------------------------------------------------- clone: the last, partial block
  { name: 'clone: a file with a partial last block to a new file', result: 'ok', maps: { b: '0+3S' }, sizes: { b: 2 * B + 100 },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); return fs.clone('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'clone: a length rounded up past a partial last block', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); return fs.clone('a', 'b', 0, 0, 3 * B) } },
  { name: 'clone: a partial last block into the middle of a larger file', result: 'EINVAL', maps: { b: '0+8' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 8, 20); return fs.clone('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'clone: the same with length 0', result: 'EINVAL', maps: { b: '0+8' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 8, 20); return fs.clone('a', 'b', 0, 0, 0) } },
  { name: 'clone: a partial last block over a slightly shorter file', result: 'ok', maps: { b: '0+3S' }, sizes: { b: 2 * B + 100 },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 2, 20); fs.pwrite('b', 2 * B, 50, 7); return fs.clone('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'clone: a partial last block over a file of the same size', result: 'ok', maps: { b: '0+3S' }, sizes: { b: 2 * B + 100 },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 2, 20); fs.pwrite('b', 2 * B, 100, 7); return fs.clone('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'clone: a partial last block over a file one byte longer', result: 'EINVAL', maps: { b: '0+3' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 2, 20); fs.pwrite('b', 2 * B, 101, 7); return fs.clone('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'clone: past the end of the destination leaves a gap of zeros', result: 'ok', maps: { b: '0+1 4+4S' }, sizes: { b: 8 * B },
    steps: (fs) => { fill(fs, 'a', 4); fs.pwrite('b', 0, 100, 5); return fs.clone('a', 'b', 0, 4 * B, 4 * B) } },
  // ------------------------------------------------------------------------------- clone: one file
  { name: 'clone: inside one file', result: 'ok', maps: { a: '0+2S 2+2 4+2S' },
    steps: (fs) => { fill(fs, 'a', 6); return fs.clone('a', 'a', 0, 4 * B, 2 * B) } },
  { name: 'clone: inside one file, touching', result: 'ok', maps: { a: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 2); return fs.clone('a', 'a', 0, 2 * B, 2 * B) } },
  { name: 'clone: inside one file, overlapping by a block', result: 'EINVAL', maps: { a: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'a', 0, B, 2 * B) } },
  { name: 'clone: a range onto itself', result: 'EINVAL', maps: { a: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'a', 0, 0, 2 * B) } },
  { name: 'clone: a file onto itself with length 0', result: 'EINVAL', maps: { a: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); return fs.clone('a', 'a', 0, 0, 0) } },
  { name: 'clone: the partial last block behind its own end', result: 'ok', maps: { a: '0+2 2+2S' }, sizes: { a: 3 * B + 100 },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); return fs.clone('a', 'a', 2 * B, 3 * B, 100) } },
  // -------------------------------------------------------------------- clone: holes and unwritten
  { name: 'clone: holes and unwritten blocks of the source become holes', result: 'ok', maps: { a: '0+1S 2+1S 4+2U', b: '0+1S 2+1S 6+2' }, sizes: { b: 8 * B },
    steps: (fs) => { mixed(fs, 'a'); fill(fs, 'b', 8, 20); return fs.clone('a', 'b', 0, 0, 6 * B) } },
  { name: 'clone: the same to a new file', result: 'ok', maps: { b: '0+1S 2+1S' }, sizes: { b: 6 * B },
    steps: (fs) => { mixed(fs, 'a'); return fs.clone('a', 'b', 0, 0, 6 * B) } },
  { name: 'clone: what is shared already stays as it is', result: 'ok', maps: { a: '0+1S 2+1S 4+2U', b: '0+1S 2+1S' },
    steps: (fs) => { mixed(fs, 'a'); fs.clone('a', 'b', 0, 0, 6 * B); return fs.clone('a', 'b', 0, 0, 6 * B) } },
  { name: 'clone: a hole over data', result: 'ok', maps: { b: '4+2' },
    steps: (fs) => { fs.truncate('a', 4 * B); fill(fs, 'b', 6, 20); return fs.clone('a', 'b', 0, 0, 4 * B) } },
  { name: 'clone: preallocation behind the end of the source is not cloned', result: 'ok', maps: { a: '0+4S 4+4U', b: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.fallocKeep('a', 4 * B, 4 * B); return fs.clone('a', 'b', 0, 0, 0) } },
  { name: 'clone: preallocation behind the end of the destination stays', result: 'ok', maps: { b: '0+1 1+3U 4+2S 6+3U' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('b', 0, B, 5); fs.fallocKeep('b', B, 8 * B); return fs.clone('a', 'b', 0, 4 * B, 2 * B) } },
  { name: 'clone: single blocks merge into one extent', result: 'ok', maps: { a: '0+8S', b: '0+8S' },
    steps: (fs) => { fill(fs, 'a', 8); let last = ''; for (let i = 0; i < 8; i++) last = fs.clone('a', 'b', i * B, i * B, B); return last } },
  { name: 'clone: the middle of a file splits it in three', result: 'ok', maps: { a: '0+2 2+2S 4+2', b: '0+2S' },
    steps: (fs) => { fill(fs, 'a', 6); return fs.clone('a', 'b', 2 * B, 0, 2 * B) } },
  { name: 'clone: over half of a shared range', result: 'ok', maps: { a: '0+2 2+2S', b: '0+4S', c: '0+2S' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'c', 2, 30); fs.clone('a', 'b', 0, 0, 4 * B); return fs.clone('c', 'b', 0, 0, 2 * B) } },
  // --------------------------------------------------------------------------- clone: what refuses
  { name: 'clone: the source is a directory', result: 'EISDIR', steps: (fs) => { fs.mkdir('d'); return fs.clone('d', 'b', 0, 0, 0) } },
  { name: 'clone: the destination is a directory', result: 'EISDIR', steps: (fs) => { fill(fs, 'a', 1); fs.mkdir('d'); return fs.clone('a', 'd', 0, 0, 0) } },
  { name: 'dedupe: the destination is immutable', result: 'EPERM', maps: { b: '0+1' },
    steps: (fs) => { fill(fs, 'a', 1); fill(fs, 'b', 1); fs.chattr('b', '+i'); const r = fs.dedupe('a', 'b', 0, 0, B); fs.chattr('b', '-i'); return r } },
  { name: 'dedupe: the source is a directory', result: 'EISDIR', steps: (fs) => { fs.mkdir('d'); fill(fs, 'b', 1); return fs.dedupe('d', 'b', 0, 0, B) } },
  { name: 'unshare: an immutable file', result: 'EPERM', maps: { b: '0+1S' },
    steps: (fs) => { fill(fs, 'a', 1); fs.clone('a', 'b', 0, 0, B); fs.chattr('b', '+i'); const r = fs.unshare('b', 0, B); fs.chattr('b', '-i'); return r } },
  { name: 'staircase: each file shares one block more', result: 'ok', maps: { a: '0+7S 7+1', f0: '0+1S', f3: '0+4S', f6: '0+7S' },
    steps: (fs) => { fill(fs, 'a', 8); let r = ''; for (let i = 0; i < 7; i++) r = fs.clone('a', `f${i}`, 0, 0, (i + 1) * B); return r } },
  { name: 'halves and quarters of a shared range, some of them gone again', result: 'ok', maps: { a: '0+2S 2+2 4+4S', b: '0+4S', c: '0+2S', d: '0+1S' },
    steps: (fs) => { fill(fs, 'a', 8); fs.clone('a', 'b', 4 * B, 0, 4 * B); fs.clone('a', 'c', 0, 0, 4 * B); fs.clone('c', 'e', 0, 0, 4 * B); fs.clone('a', 'd', 5 * B, 0, B); fs.punch('c', 2 * B, 2 * B); fs.unlink('e'); return 'ok' } },
  { name: 'clone: the destination is immutable', result: 'EPERM', maps: { b: '0+1' },
    steps: (fs) => { fill(fs, 'a', 1); fill(fs, 'b', 1, 20); fs.chattr('b', '+i'); const r = fs.clone('a', 'b', 0, 0, B); fs.chattr('b', '-i'); return r } },
  { name: 'clone: the source is immutable', result: 'ok', maps: { b: '0+1S' },
    steps: (fs) => { fill(fs, 'a', 1); fs.chattr('a', '+i'); const r = fs.clone('a', 'b', 0, 0, B); fs.chattr('a', '-i'); return r } },
  { name: 'clone: destination beyond the largest file', result: 'EINVAL', sizes: { b: 0 },
    steps: (fs) => { fill(fs, 'a', 2); return fs.clone('a', 'b', 0, MAX - BigInt(B), 2 * B) } },
  { name: 'clone: destination ends at 2^63 - 4096', result: 'ok',
    steps: (fs) => { fill(fs, 'a', 1); return fs.clone('a', 'b', 0, MAX - BigInt(2 * B), B) } },
  // ---------------------------------------------------------------------------------------- dedupe
  { name: 'dedupe: identical blocks', result: 'SAME 16384', maps: { a: '0+4S', b: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: what is shared already', result: 'SAME 16384', maps: { b: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); fs.dedupe('a', 'b', 0, 0, 4 * B); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: the last block differs: nothing is shared', result: 'DIFFERS 0', maps: { a: '0+4', b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); fs.pwrite('b', 4 * B - 1, 1, 99); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: length 0', result: 'SAME 0', maps: { b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 0, 0) } },
  { name: 'dedupe: unaligned source offset', result: 'EINVAL', maps: { b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 100, 0, B) } },
  { name: 'dedupe: unaligned destination offset', result: 'EINVAL', maps: { b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 100, B) } },
  { name: 'dedupe: an unaligned length is rounded down, and reported whole', result: 'SAME 4196', maps: { b: '0+1S 1+3' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 0, B + 100) } },
  { name: 'dedupe: less than a block', result: 'SAME 100', maps: { b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 0, 100) } },
  { name: 'dedupe: less than a block of different content is not compared', result: 'SAME 100', maps: { b: '0+4' },
    steps: (fs) => { fs.pwrite('a', 0, 100, 1); fill(fs, 'b', 4, 7); return fs.dedupe('a', 'b', 0, 0, 100) } },
  { name: 'dedupe: a different part of a block after equal blocks is not compared', result: 'SAME 4196', maps: { b: '0+1S 1+3' },
    steps: (fs) => { fill(fs, 'a', 1); fs.pwrite('a', B, 100, 99); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 0, 0, B + 100) } },
  { name: 'dedupe: source range past its end', result: 'EINVAL', maps: { b: '0+8' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 8); return fs.dedupe('a', 'b', 2 * B, 0, 4 * B) } },
  { name: 'dedupe: destination range past its end', result: 'EINVAL', maps: { b: '0+2' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 2); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: source offset at its end', result: 'EINVAL', maps: { b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fill(fs, 'b', 4); return fs.dedupe('a', 'b', 4 * B, 0, B) } },
  { name: 'dedupe: whole files with a partial last block', result: 'SAME 8292', maps: { a: '0+3S', b: '0+3S' },
    steps: (fs) => { for (const f of ['a', 'b']) { fill(fs, f, 2); fs.pwrite(f, 2 * B, 100, 9) } return fs.dedupe('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'dedupe: a partial last block into the middle of a larger file', result: 'SAME 8292', maps: { b: '0+2S 2+4' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 6); fs.pwrite('b', 2 * B, 100, 9); return fs.dedupe('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'dedupe: only the partial last block into the middle', result: 'SAME 100', maps: { b: '0+6' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 6); fs.pwrite('b', 2 * B, 100, 9); return fs.dedupe('a', 'b', 2 * B, 2 * B, 100) } },
  { name: 'dedupe: a partial block where only the destination goes on', result: 'SAME 8292', maps: { b: '0+2S 2+1' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fill(fs, 'b', 2); fs.pwrite('b', 2 * B, B, 9); return fs.dedupe('a', 'b', 0, 0, 2 * B + 100) } },
  { name: 'dedupe: inside one file', result: 'SAME 8192', maps: { a: '0+4S' },
    steps: (fs) => { for (const half of [0, 2]) { fs.pwrite('a', half * B, B, 1); fs.pwrite('a', (half + 1) * B, B, 2) } return fs.dedupe('a', 'a', 0, 2 * B, 2 * B) } },
  { name: 'dedupe: inside one file, overlapping', result: 'EINVAL', maps: { a: '0+4' },
    steps: (fs) => { fs.pwrite('a', 0, 4 * B, 1); return fs.dedupe('a', 'a', 0, B, 2 * B) } },
  { name: 'dedupe: a range with itself', result: 'EINVAL', maps: { a: '0+4' },
    steps: (fs) => { fs.pwrite('a', 0, 4 * B, 1); return fs.dedupe('a', 'a', 0, 0, 2 * B) } },
  { name: 'dedupe: a hole with zeros makes a hole', result: 'SAME 16384', maps: { b: '' },
    steps: (fs) => { fs.truncate('a', 4 * B); fs.pwrite('b', 0, 4 * B, 0); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: zeros with a hole makes shared data', result: 'SAME 16384', maps: { b: '0+4S' },
    steps: (fs) => { fs.pwrite('a', 0, 4 * B, 0); fs.truncate('b', 4 * B); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: unwritten blocks with zeros makes a hole', result: 'SAME 16384', maps: { a: '0+4U', b: '' },
    steps: (fs) => { fs.falloc('a', 0, 4 * B); fs.pwrite('b', 0, 4 * B, 0); return fs.dedupe('a', 'b', 0, 0, 4 * B) } },
  { name: 'dedupe: more than the 1 GiB of one call goes on by itself', result: `SAME ${3 * 2 ** 30}`, maps: { b: '' },
    steps: (fs) => { fs.truncate('a', 3 * 2 ** 30); fs.truncate('b', 3 * 2 ** 30); return fs.dedupe('a', 'b', 0, 0, 3 * 2 ** 30) } },
  // --------------------------------------------------------------------------------------- unshare
  { name: 'unshare: a whole file', result: 'ok', maps: { a: '0+4', b: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); return fs.unshare('b', 0, 4 * B) } },
  { name: 'unshare: part of a block rounds outwards', result: 'ok', maps: { a: '0+1 1+3S', b: '0+1 1+3S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); return fs.unshare('b', 100, 100) } },
  { name: 'unshare: past the end extends the file', result: 'ok', maps: { b: '0+4 4+4U' }, sizes: { b: 8 * B },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); return fs.unshare('b', 0, 8 * B) } },
  { name: 'unshare: a hole is allocated', result: 'ok', maps: { b: '0+4U' },
    steps: (fs) => { fs.truncate('b', 4 * B); return fs.unshare('b', 0, 4 * B) } },
  { name: 'unshare: unwritten blocks stay unwritten', result: 'ok', maps: { b: '0+1 1+3U' },
    steps: (fs) => { fs.pwrite('b', 0, B, 1); fs.falloc('b', B, 3 * B); return fs.unshare('b', 0, 4 * B) } },
  { name: 'unshare: length 0', result: 'EINVAL', maps: { b: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); return fs.unshare('b', 0, 0) } },
  { name: 'unshare: one of three sharers; the others stay shared', result: 'ok', maps: { a: '0+4S', b: '0+4', c: '0+4S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.clone('a', 'c', 0, 0, 4 * B); return fs.unshare('b', 0, 4 * B) } },
  // ------------------------------------------- changes of shared blocks: the other keeps its bytes
  { name: 'write into a shared block copies it', result: 'ok', maps: { a: '0+1S 1+1 2+2S', b: '0+1S 1+1 2+2S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.pwrite('b', B + 100, 50, 99); return 'ok' } },
  { name: 'punch out of a shared range', result: 'ok', maps: { a: '0+1S 1+2 3+1S', b: '0+1S 3+1S' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.punch('b', B, 2 * B); return 'ok' } },
  { name: 'truncate inside a shared block copies it and clears its tail', result: 'ok', maps: { a: '0+1S 1+3', b: '0+1S 1+1' }, sizes: { b: B + 100 },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.truncate('b', B + 100); return 'ok' } },
  { name: 'insert into a file with a shared partial last block copies it', result: 'ok', maps: { a: '0+2S 2+1', b: '0+1S 2+1S 3+1' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fs.clone('a', 'b', 0, 0, 0); return fs.insert('b', B, B) } },
  { name: 'insert into a file of whole shared blocks moves them', result: 'ok', maps: { a: '0+3S', b: '0+1S 2+2S' },
    steps: (fs) => { fill(fs, 'a', 3); fs.clone('a', 'b', 0, 0, 0); return fs.insert('b', B, B) } },
  { name: 'collapse of a file with a shared partial last block copies it', result: 'ok', maps: { a: '0+1S 1+2', b: '0+1S 1+1' },
    steps: (fs) => { fill(fs, 'a', 2); fs.pwrite('a', 2 * B, 100, 9); fs.clone('a', 'b', 0, 0, 0); return fs.collapse('b', B, B) } },
  { name: 'unlink one of two sharers', result: 'ok', maps: { a: '0+4' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.unlink('b'); return 'ok' } },
  { name: 'preallocation over shared blocks leaves them shared', result: 'ok', maps: { a: '0+4S', b: '0+4S 4+4U' },
    steps: (fs) => { fill(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.falloc('b', 0, 8 * B); return 'ok' } },
]
