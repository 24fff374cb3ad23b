import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { guarded } from '../../device/file.ts'
import { hostPath } from '../arguments.ts'
import type { Command } from '../command.ts'

const shims: Command<{ dir: string }> = {
  command: 'shims <dir>',
  describe: 'create links named like the reference tools; xfskit acts as the tool whose name it is called by',
  examples: [['$0 shims ~/xfs-tools', 'then prepend ~/xfs-tools to PATH']],
  builder: (yargs) =>
    yargs.positional('dir', { type: 'string', demandOption: true, describe: 'directory for the links' }),
  handler: ({ dir }, { out, commands }) => {
    const program = realpathSync(process.argv[1] ?? '')
    const made: string[] = []
    guarded(hostPath(dir), 'create links in', () => {
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
