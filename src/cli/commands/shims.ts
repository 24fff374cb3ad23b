import { lstatSync, mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { XfsError } from '../../errors.ts'
import { escapeBytes } from '../../util/escape.ts'
import { guarded } from '../../xfsimage/host.ts'
import { hostPath } from '../arguments.ts'
import { type Command, FAILED, OK, PARTLY } from '../command.ts'
import { absolute, named } from '../json.ts'
import { reportFailure } from '../paths.ts'

const shims: Command<{ dir: string }> = {
  command: 'shims <dir>',
  describe: 'create links named like the reference tools; xfskit acts as the tool whose name it is called by',
  examples: [['$0 shims ~/xfs-tools', 'then prepend ~/xfs-tools to PATH']],
  builder: (yargs) =>
    yargs.positional('dir', { type: 'string', demandOption: true, describe: 'directory for the links' }),
  handler: ({ dir }, { out, commands }) => {
    const program = realpathSync(process.argv[1] ?? '')
    const folder = Buffer.from(hostPath(dir) as string)
    const done: Buffer[] = []
    const failed: object[] = []
    guarded(folder, 'create links in', () => mkdirSync(folder, { recursive: true }))
    for (const { tool } of commands) {
      if (tool === undefined) continue
      const link = Buffer.concat([folder, Buffer.from(folder.at(-1) === SLASH ? tool : `/${tool}`)])
      try {
        guarded(link, 'create', () => makeLink(program, link))
        done.push(link)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        failed.push({ ...hostNamed(link), code: error.code, message: error.message })
        reportFailure(out, 'shims', escapeBytes(link), error)
      }
    }
    out.document('shims', { done: done.map(hostNamed), failed }, () => done.map(escapeBytes).join('\n'))
    return failed.length === 0 ? OK : done.length > 0 ? PARTLY : FAILED
  },
}
export default shims

const SLASH = 0x2f

/** Replaces a link; a file of that name may be the tool itself. */
function makeLink(program: string, link: Buffer): void {
  const found = lstatSync(link, { throwIfNoEntry: false })
  if (found && !found.isSymbolicLink()) throw new XfsError('EXIST', `${escapeBytes(link)}: exists, and is not a link`)
  rmSync(link, { force: true })
  symlinkSync(program, link)
}

const hostNamed = (path: Buffer) =>
  named('path', path[0] === SLASH ? absolute(path) : absolute(Buffer.from(process.cwd()), path))
