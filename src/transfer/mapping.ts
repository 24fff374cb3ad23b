/** Owners and modes other than those of the source: for people who are not root. */
interface Ownership {
  readonly uid: number
  readonly gid: number
  readonly permissions: number
}

interface Subject extends Ownership {
  readonly isDirectory: boolean
  readonly isLink: boolean
}

/** One rule: what it changes, for which paths. */
export interface MappingRule {
  /** Undefined: every path. */
  readonly pattern?: RegExp
  readonly uid?: number
  readonly gid?: number
  /** New permissions from the old ones. */
  readonly mode?: (permissions: number, isDirectory: boolean) => number
}

export class Mapping {
  readonly #rules: readonly MappingRule[]

  constructor(rules: readonly MappingRule[]) {
    this.#rules = rules
  }

  /** Rules apply in turn, later ones on top of earlier ones. `path` begins with a slash. */
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
 * A pattern of paths as a regular expression: `*` and `?` within a name, `**` over any number of them, `[a-z]`. A pattern with a slash is meant from
 * the top, one without at any depth. What lies below a directory that a pattern names is not meant; `/etc/**` is.
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
