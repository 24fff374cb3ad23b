/** The story that `xfskit demo` tells: command lines in order, as a user would type them. */
export interface Step {
  /** What happens, in a sentence or two. */
  readonly tell: string
  /** Words behind `xfskit`. */
  readonly run: readonly string[]
  /** The exit status that it has to have: 0 unless said. */
  readonly status?: number
}

export interface Chapter {
  readonly title: string
  readonly steps: readonly Step[]
}

/** The host's files that the story puts into the image. */
export interface StoryFiles {
  readonly image: string
  /** A folder with a few files: `report.txt`, `data.bin` (some MiB) and `copy.bin` (the same bytes). */
  readonly folder: string
}

/** The whole story on one image. */
export const story = ({ image, folder }: StoryFiles): readonly Chapter[] => [
  {
    title: 'Format',
    steps: [
      { tell: 'A real XFS filesystem in a file. No root, no loop device, no mount.', run: ['mkfs', '--size', '64m', '-L', 'demo', image] },
    ],
  },
  {
    title: 'Fill',
    steps: [
      { tell: 'A folder of the host goes in.', run: ['put', image, folder, '/'] },
      { tell: 'There it is.', run: ['ls', '-lR', image, '/'] },
    ],
  },
  {
    title: 'Share',
    steps: [
      { tell: 'A clone: another file, the same blocks.', run: ['reflink', image, '/data.bin', '/clone.bin'] },
      {
        tell: 'copy.bin holds the same bytes in blocks of its own. Dedupe compares, then shares.',
        run: ['dedupe', image, '/data.bin', '/copy.bin', '--length', '1m'],
      },
      { tell: 'Every shared extent is marked.', run: ['fiemap', image, '/data.bin'] },
      { tell: 'The refcount btree knows how many own each run of blocks.', run: ['dump', image, 'refcountbt'] },
      { tell: 'A write into a shared range goes to new blocks: the clone keeps its bytes.', run: ['write', image, '/data.bin', '--offset', '64k', '--text', 'copy on write'] },
      { tell: 'And sharing can be ended.', run: ['unshare', image, '/copy.bin'] },
      { tell: 'All of it together is sound.', run: ['check', image] },
    ],
  },
  {
    title: 'Damage and repair',
    steps: [
      { tell: 'A reference count that is too high: blocks that would never be free again. xfs_repair -n does not see it.', run: ['db', '-x', '-c', 'agf 0', '-c', 'addr refcntroot', '-c', 'write recs[1].refcount 7', image] },
      { tell: 'check does: it compares both ways.', run: ['check', image], status: 1 },
      { tell: 'repair rebuilds that tree, and only that.', run: ['repair', image] },
      { tell: 'Sound again.', run: ['check', image] },
    ],
  },
] // biome-ignore format: a command a line
