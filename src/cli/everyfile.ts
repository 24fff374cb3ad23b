import type { Inode } from '../inode/inode.ts'
import { openInode } from '../inode/inode.ts'
import { resolve } from '../namespace/resolve.ts'
import { walkTree } from '../namespace/tree.ts'
import type { Volume } from '../volume.ts'
import { type ImageArguments, imagePath } from './arguments.ts'
import type { Session } from './command.ts'
import { changeEachPath } from './paths.ts'
import { drive } from './progress.ts'

interface PathsArguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly recursive?: boolean
}

/**
 * Change the file at each path; with `recursive` also everything below it, without following
 * symbolic links.
 */
export const everyFile = (
  session: Session,
  command: string,
  args: PathsArguments,
  { follow }: { readonly follow: boolean },
  action: (volume: Volume, inode: Inode) => void,
): Promise<number> =>
  changeEachPath(session, command, args, args.paths, async (volume, path) => {
    const start = resolve(volume, imagePath(path), { follow: follow && args.recursive !== true })
    if (args.recursive !== true) action(volume, start)
    else await drive(changeTree(volume, start, action))
  })

function* changeTree(volume: Volume, start: Inode, action: (volume: Volume, inode: Inode) => void) {
  let done = 0
  for (const { inode } of walkTree(start)) {
    action(volume, openInode(volume, inode.ino))
    yield { what: 'changing', done: ++done }
  }
}
