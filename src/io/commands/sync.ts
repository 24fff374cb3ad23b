import type { IoCommand, IoSession } from '../session.ts'

/** When these return, all changes are on the device, and the image is sound. */
const flush = (session: IoSession): void => {
  if (session.volume.writable) session.volume.sync()
}

const command = (name: string, describe: string, more: Partial<IoCommand> = {}): IoCommand => ({
  name,
  describe,
  least: 0,
  most: 0,
  readOnly: true,
  run: flush,
  ...more,
})

/** Advice is accepted, without effect. */
const fadvise: IoCommand = {
  name: 'fadvise',
  args: '[-dnrsw] [off len]',
  describe: 'advisory commands for sections of a file',
  help: '\n Advice for the page cache: accepted, without effect here. -d, -n and -w need a range.\n\n',
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { options, operands, faults } = session.options(argv, 'dnrsw')
    const ranged = ['d', 'n', 'w'].includes(options.at(-1)?.letter ?? '')
    if (faults.length > 0 || operands.length !== (ranged ? 2 : 0)) {
      session.usage(fadvise)
      return
    }
    if (!ranged) return
    const [from, howMany] = operands as [string, string]
    if (session.number(from, 'offset argument') !== undefined) session.number(howMany, 'length argument')
  },
}

export const syncCommands: readonly IoCommand[] = [
  command('fsync', 'calls fsync(2) to flush all in-core file state to disk', { alias: 's' }),
  command('fdatasync', 'calls fdatasync(2) to flush the files in-core data to disk', { alias: 'ds' }),
  command('sync', 'calls sync(2) to flush all in-core filesystem state to disk', { anywhere: true, once: true }),
  command('syncfs', 'calls syncfs(2) to flush all in-core filesystem state to disk'),
  fadvise,
]
