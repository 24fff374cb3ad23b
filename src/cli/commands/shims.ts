import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { guarded } from '../../device/file.ts'
import { hostPath } from '../arguments.ts'
import type { Command } from '../command.ts'

const shims: Command<{ dir: string }> = {
  command: 'shims <dir>',
  describe: 'make links by the names of the reference tools: called by one, xfskit is that tool',
  examples: [['$0 shims ~/xfs-tools', 'then put ~/xfs-tools in front of the PATH']],
  builder: (yargs) => yargs.positional('dir', { type: 'string', demandOption: true, describe: 'where the links go' }),
  handler: ({ dir }, { out, commands }) => {
    const program = realpathSync(process.argv[1] ?? '')
    const made: string[] = []
    guarded(hostPath(dir), 'make links in', () => {
      mkdirSync(hostPath(dir), { recursive: true })
      for (const { tool } of commands) {
        if (tool === undefined) continue
        const link = join(dir, tool)
        rmSync(link, { force: true })
        symlinkSync(program, link)
        made.push(link)
      }
    })
    out.document('shims', { links: made }, () => made.join('\n'))
  },
}
export default shims
