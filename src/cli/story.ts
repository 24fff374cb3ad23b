/** The script of `xfskit demo`: command lines in order, as a user would type them. */
export interface StoryStep {
  /** One or two sentences about the step. */
  readonly text: string
  /** Arguments of `xfskit`. */
  readonly run: readonly string[]
  /** The command line of another tool; skipped if it is not installed. */
  readonly reference?: boolean
  /** The expected exit status (default: 0). */
  readonly status?: number
}

interface Chapter {
  readonly title: string
  readonly steps: readonly StoryStep[]
}

/** The host's files that the story puts into the image. */
interface StoryFiles {
  readonly image: string
  /**
   * A folder with a few files: `report.txt`, `data.bin` (some MiB) and `copy.bin` (the same bytes).
   */
  readonly folder: string
}

/**
 * db commands that write a record into refcountbt of AG 1, which has no shared blocks. The blocks
 * of the record are free.
 */
const damage = (image: string): readonly string[] => [
  'db', '-x', image,
  ...['agf 1', 'addr refcntroot', 'write numrecs 1', 'write recs[1].startblock 2000', 'write recs[1].blockcount 64', 'write recs[1].refcount 7']
    .flatMap((command) => ['-c', command]),
] // biome-ignore format: as it is typed

/** The complete script on one image. */
// biome-ignore format: a command a line
export const story = ({ image, folder }: StoryFiles): readonly Chapter[] => [
  {
    title: 'Format',
    steps: [
      { text: 'A real XFS filesystem in a file. No root, no loop device, no mount.', run: ['mkfs', '--size', '64m', '-L', 'demo', image] },
    ],
  },
  {
    title: 'Fill',
    steps: [
      { text: 'Copy files of the host into it.', run: ['put', image, ...['report.txt', 'data.bin', 'copy.bin', 'notes'].map((name) => `${folder}/${name}`), '/'] },
      { text: 'List them.', run: ['ls', '-lR', image, '/'] },
    ],
  },
  {
    title: 'Share',
    steps: [
      { text: 'A clone: another file, the same blocks.', run: ['reflink', image, '/data.bin', '/clone.bin'] },
      { text: 'copy.bin holds the same bytes in blocks of its own. Dedupe compares, then shares.', run: ['dedupe', image, '/data.bin', '/copy.bin', '--length', '1m'] },
      { text: 'Every shared extent is marked.', run: ['fiemap', image, '/copy.bin'] },
      { text: 'A write into a shared range goes to new blocks; the clone keeps its bytes.', run: ['write', image, '/data.bin', `${folder}/report.txt`, '--offset', '64k'] },
      { text: 'The refcount btree counts the owners of each extent: three, except for the block that was written.', run: ['dump', image, 'refcountbt'] },
      { text: 'Unshare copies shared blocks.', run: ['unshare', image, '/copy.bin'] },
      { text: 'The filesystem is consistent.', run: ['check', image] },
    ],
  },
  {
    title: 'Damage and repair',
    steps: [
      { text: 'Now damage it: a refcount record claims seven owners for 64 free blocks.', run: damage(image) },
      { text: 'xfs_repair does not find it: it verifies that every shared block has a record, but not that every record has shared blocks.', run: ['xfs_repair', '-n', '-f', image], reference: true },
      { text: 'check finds it: it compares in both directions.', run: ['check', image], status: 1 },
      { text: 'What would repair do?', run: ['repair', '--dry-run', image], status: 1 },
      { text: 'It rebuilds that btree, and nothing else.', run: ['repair', image] },
      { text: 'The filesystem is consistent again.', run: ['check', image] },
    ],
  },
]
