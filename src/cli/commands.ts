import type { Entry } from './command.ts'

/** Every command: name and one line for --help; the module is loaded when the command runs. */
export const commands: readonly Entry[] = [
  {
    name: 'mkfs',
    tool: 'mkfs.xfs',
    describe: 'make a filesystem, as mkfs.xfs',
    load: () => import('./commands/mkfs.ts'),
  },
  {
    name: 'info',
    tool: 'xfs_info',
    describe: 'print geometry and features, as xfs_info',
    load: () => import('./commands/info.ts'),
  },
  { name: 'ls', describe: 'list files', load: () => import('./commands/ls.ts') },
  { name: 'stat', describe: 'all that is known of a file', load: () => import('./commands/stat.ts') },
  { name: 'cat', describe: 'write the content of files to standard output', load: () => import('./commands/cat.ts') },
  {
    name: 'fiemap',
    describe: "print a file's extents, with the shared flag",
    load: () => import('./commands/fiemap.ts'),
  },
  {
    name: 'reflink',
    describe: 'share blocks of one file with another: FICLONE, FICLONERANGE',
    load: () => import('./commands/reflink.ts'),
  },
  {
    name: 'dedupe',
    describe: 'share blocks of two files where both hold the same bytes: FIDEDUPERANGE',
    load: () => import('./commands/dedupe.ts'),
  },
  {
    name: 'unshare',
    describe: 'give a file its own copy of what it shares: FALLOC_FL_UNSHARE_RANGE',
    load: () => import('./commands/unshare.ts'),
  },
  {
    name: 'shims',
    describe: 'make links by the names of the reference tools',
    load: () => import('./commands/shims.ts'),
  },
  {
    name: 'completion',
    describe: 'print the completion for bash and zsh',
    load: () => import('./commands/completion.ts'),
  },
]
