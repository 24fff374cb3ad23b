/**
 * The operations of a case, implemented by xfskit and by the kernel. Paths are relative to the
 * root.
 */
export interface FileSystem {
  /** Write `length` bytes of value `byte`; creates the file. */
  pwrite(path: string, offset: number, length: number, byte: number): void
  truncate(path: string, size: number): void
  falloc(path: string, offset: number, length: number): void
  /** Without changing the size. */
  fallocKeep(path: string, offset: number, length: number): void
  punch(path: string, offset: number, length: number): void
  zero(path: string, offset: number, length: number): void
  /** "ok" or the name of the errno. */
  collapse(path: string, offset: number, length: number): string
  insert(path: string, offset: number, length: number): string
  mkdir(path: string): void
  unlink(path: string): void
  chattr(path: string, flag: '+i' | '-i'): void
  /** "ok" or the name of the errno. Creates an empty destination. */
  clone(src: string, dst: string, srcOffset: number, dstOffset: number | bigint, length: number): string
  /** "SAME bytes", "DIFFERS bytes" or the name of the errno. */
  dedupe(src: string, dst: string, srcOffset: number, dstOffset: number, length: number): string
  unshare(path: string, offset: number, length: number): string
  /**
   * `start+length` with S (shared) and U (unwritten), in blocks; runs with equal flags are merged.
   */
  map(path: string): string
  size(path: string): number
  content(path: string): Buffer
}

/**
 * Merge adjacent runs of one kind, so that maps can be compared regardless of the physical layout.
 */
export function mapText(
  runs: Iterable<{ start: number; length: number; shared: boolean; unwritten: boolean }>,
): string {
  const parts: { start: number; length: number; flags: string }[] = []
  for (const run of runs) {
    const flags = `${run.shared ? 'S' : ''}${run.unwritten ? 'U' : ''}`
    const last = parts.at(-1)
    if (last && last.flags === flags && last.start + last.length === run.start) last.length += run.length
    else parts.push({ start: run.start, length: run.length, flags })
  }
  return parts.map((p) => `${p.start}+${p.length}${p.flags}`).join(' ')
}
