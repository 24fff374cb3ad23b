/** Owners and modes that replace those of the source. */
interface Ownership {
  readonly uid: number
  readonly gid: number
  readonly permissions: number
}

interface Subject extends Ownership {
  readonly isDirectory: boolean
  readonly isLink: boolean
}

/** One rule: its pattern and its changes. */
export interface OwnerRule {
  /** Undefined: every path. */
  readonly pattern?: RegExp
  readonly uid?: number
  readonly gid?: number
  /** New permissions from the old ones. */
  readonly mode?: (permissions: number, isDirectory: boolean) => number
}

export class OwnerRules {
  readonly #rules: readonly OwnerRule[]

  constructor(rules: readonly OwnerRule[]) {
    this.#rules = rules
  }

  /** Rules apply in order; later ones override earlier ones. `path` begins with a slash. */
  apply(path: Uint8Array, subject: Subject): Ownership {
    if (this.#rules.length === 0) return subject
    let { uid, gid, permissions } = subject
    const text = Buffer.from(path).toString('utf8')
    for (const rule of this.#rules) {
      if (rule.pattern && !rule.pattern.test(text)) continue
      uid = rule.uid ?? uid
      gid = rule.gid ?? gid
      if (rule.mode && !subject.isLink) permissions = rule.mode(permissions, subject.isDirectory)
    }
    return { uid, gid, permissions }
  }
}

/**
 * A pattern of paths as a regular expression: `*` and `?` within a name, `**` over any number of
 * them, `[a-z]`. A pattern with a slash is anchored at the top, one without matches at any depth. A
 * pattern of a directory does not match its contents; use `/etc/**`.
 */
export function pathPattern(pattern: string): RegExp {
  const anchored = pattern.includes('/')
  let text = ''
  const source = pattern.replace(/^\/+/, '')
  for (let at = 0; at < source.length; at++) {
    const char = source[at] as string
    if (char === '*') {
      if (source[at + 1] === '*') {
        at++
        if (source[at + 1] === '/') {
          at++
          text += '(?:.*/)?'
        } else text += '.*'
      } else text += '[^/]*'
    } else if (char === '?') text += '[^/]'
    else if (char === '[') {
      const end = source.indexOf(']', at + 2)
      if (end < 0) text += '\\['
      else {
        text += `[${source
          .slice(at + 1, end)
          .replace(/^!/, '^')
          .replace(/\\/g, '\\\\')}]`
        at = end
      }
    } else text += char.replace(/[\\^$.|+(){}]/g, '\\$&')
  }
  return new RegExp(`^${anchored ? '/' : '.*/'}${text}$`, 's')
}
