import type { Entry } from './command.ts'

/** Every command: name and one line for --help; the module is loaded when the command runs. */
export const commands: readonly Entry[] = [
  {
    name: 'info',
    tool: 'xfs_info',
    describe: 'print geometry and features, as xfs_info',
    load: () => import('./commands/info.ts'),
  },
]
