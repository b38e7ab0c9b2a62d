/**
 * The reference, `npm run reference`: a page for each subpath, from the doc comments. It fails if an export or a property has no comment, or if a
 * public type names one that is not exported.
 */
import { readFileSync } from 'node:fs'

const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

/** @type {Partial<import('typedoc').TypeDocOptions> & Record<string, unknown>} */
export default {
  entryPoints: Object.values(exports).filter((conditions) => typeof conditions === 'object').map((conditions) => `../${conditions['fastify-concurrency-source']}`),
  tsconfig: '../tsconfig.build.json',
  plugin: ['typedoc-plugin-markdown', './vocabulary.mjs'],
  out: 'pages/reference',
  router: 'module',
  readme: 'none',
  excludeInternal: true,
  excludePrivate: true,
  excludeExternals: true,
  disableSources: true,
  githubPages: false,
  hideBreadcrumbs: true,
  entryFileName: 'index',
  requiredToBeDocumented: [
    'Enum', 'EnumMember', 'Variable', 'Function', 'Class', 'Interface', 'Property', 'Method', 'Accessor', 'TypeAlias'
  ],
  validation: { notExported: true, invalidLink: true, notDocumented: true },
  treatWarningsAsErrors: true,
  intentionallyNotExported: [
    // Helpers that a compiler resolves before anybody sees them.
    'PayloadOf', 'FunctionOf', 'Modules', 'RunArguments', 'JobEntries', 'DefinedTask', 'Handler', 'MaybePromise', 'PerRequest', 'RunLimited',
    // Unions that the exported name stands for.
    'DrainPhase', 'TaskOptions', 'jobRefusalReasons', 'lockRefusalReasons', 'loopRefusalReasons', 'taskRefusalReasons', 'LogLevel', 'IoRedisClient', 'NodeRedisClient', 'GlideClient',
    // Messages of channels: `ChannelMessages['…']` names them.
    'LimitGranted', 'LimitBusy', 'Origin', 'BucketState', 'StoreFailed', 'StoreRecovered', 'LockMessage', 'LoopRefusal', 'LoopStalled', 'TaskMessage', 'TaskTrace',
    'JobIdentity', 'JobTrace', 'ThreadIdentity', 'ThreadEnd',
    // What the engine on Redis is made of.
    'Drainable', 'Scheduler'
  ]
}
