import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with package.json, for any place of the compiled tests. */
export function repoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('no package.json above the tests')
    folder = parent
  }
  return folder
}

const folders = new Set<string>()

/** A new folder for a test, removed at the end of the test process. */
export function tempDir(): string {
  if (folders.size === 0) process.once('exit', removeAll)
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-test-'))
  folders.add(folder)
  return folder
}

/** Run `use` with a new folder, and remove it. */
export function withTempDir<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-test-'))
  try {
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}
