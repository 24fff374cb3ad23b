/** The story that `xfskit demo` tells: command lines in order, as a user would type them. */
export interface Step {
  /** What happens, in a sentence or two. */
  readonly tell: string
  /** Words behind `xfskit`. */
  readonly run: readonly string[]
  /** Another tool's words; left out where it is not installed. */
  readonly reference?: boolean
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

/** db's words for a record in refcountbt of group 1, where nothing is shared and these blocks are free. */
const damage = (image: string): readonly string[] => [
  'db', '-x', image,
  ...['agf 1', 'addr refcntroot', 'write numrecs 1', 'write recs[1].startblock 2000', 'write recs[1].blockcount 64', 'write recs[1].refcount 7']
    .flatMap((command) => ['-c', command]),
] // biome-ignore format: as it is typed

/** The whole story on one image. */
// biome-ignore format: a command a line
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
      { tell: 'Files of the host go in.', run: ['put', image, ...['report.txt', 'data.bin', 'copy.bin', 'notes'].map((name) => `${folder}/${name}`), '/'] },
      { tell: 'There they are.', run: ['ls', '-lR', image, '/'] },
    ],
  },
  {
    title: 'Share',
    steps: [
      { tell: 'A clone: another file, the same blocks.', run: ['reflink', image, '/data.bin', '/clone.bin'] },
      { tell: 'copy.bin holds the same bytes in blocks of its own. Dedupe compares, then shares.', run: ['dedupe', image, '/data.bin', '/copy.bin', '--length', '1m'] },
      { tell: 'Every shared extent is marked.', run: ['fiemap', image, '/copy.bin'] },
      { tell: 'A write into a shared range goes to new blocks; the clone keeps its bytes.', run: ['write', image, '/data.bin', `${folder}/report.txt`, '--offset', '64k'] },
      { tell: 'The refcount btree knows how many own each run of blocks: three, but for the block that was written.', run: ['dump', image, 'refcountbt'] },
      { tell: 'Sharing can be ended, too.', run: ['unshare', image, '/copy.bin'] },
      { tell: 'All of it together is sound.', run: ['check', image] },
    ],
  },
  {
    title: 'Damage and repair',
    steps: [
      { tell: 'Now a lie: 64 blocks that are free are said to have seven owners.', run: damage(image) },
      { tell: 'xfs_repair does not see it: it looks whether every shared block is counted, not whether every count is of a shared block.', run: ['xfs_repair', '-n', '-f', image], reference: true },
      { tell: 'check does: it compares both ways.', run: ['check', image], status: 1 },
      { tell: 'What would repair do?', run: ['repair', '--dry-run', image], status: 1 },
      { tell: 'It builds that tree anew, and only that.', run: ['repair', image] },
      { tell: 'Sound again.', run: ['check', image] },
    ],
  },
]
