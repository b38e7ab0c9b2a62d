import neostandard from 'neostandard'
import tseslint from 'typescript-eslint'

// The house rules of CONTRIBUTING.md, as imports that don't lint. Two rules need types, and TypeScript in JavaScript
// takes a minute to find them: they are in .oxlintrc.json.
const plugins = ['cancellation', 'dashboard', 'lifecycle', 'limiter', 'locks', 'loop', 'metrics', 'tasks', 'tracing',
  'workers']
/** @param {string} up the way from the importing file to plugins/ */
const siblings = (up) => ({
  group: plugins.map((name) => `${up}${name}/*`).concat(['ambient', 'handler-timeout', 'index', 'origin', 'refused', 'request-end', 'unawaited'].map((file) => `!${up}cancellation/${file}.ts`)),
  allowTypeImports: true,
  message: 'A plugin never imports another plugin: reach it through its decorator. Only cancellation, core and shared are everyone\'s ground.'
})
/** @param {string} up the way from the importing file to plugins/ */
const ground = (up) => ({
  group: plugins.map((name) => `${up}${name}/*`),
  allowTypeImports: true,
  message: 'What every plugin stands on imports none of them.'
})
const threads = {
  group: ['**/workers/host.ts', '**/workers/context.ts'],
  allowTypeImports: true,
  message: 'What runs in a thread is addressed by URL; the main thread imports its types, the protocol, slots and wire errors only.'
}

/** One adapter file a dependency. */
const adapters = {
  piscina: 'plugins/workers/threads/piscina.ts',
  '@fastify/rate-limit': 'plugins/limiter/compat/rate-limit.ts',
  ioredis: 'plugins/redis.ts',
  '@opentelemetry/api': 'plugins/tracing/spans.ts'
}
const dependencies = (file) => Object.entries(adapters)
  .filter(([, adapter]) => adapter !== file)
  .map(([name, adapter]) => ({ name, message: `Only ${adapter} talks to ${name}.` }))

const restricted = (patterns, paths = dependencies()) => ({
  '@typescript-eslint/no-restricted-imports': ['error', { patterns, paths }]
})

export default tseslint.config(
  // test/consumer and the assemblies: projects of their own, compiled where the package is installed.
  { ignores: ['**/dist', '.tap', 'coverage', '**/node_modules', 'test/consumer', 'test/ecosystem/assemblies/**/*.ts'] },
  ...neostandard({ ts: true }),
  {
    files: ['**/*.ts'],
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: { parser: tseslint.parser },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // `void promise` says that nobody awaits it on purpose; a rejection is passed on as it came.
      'no-void': ['error', { allowAsStatement: true }],
      'prefer-promise-reject-errors': 'off',
      // A const object and the union of its values share their name: an enum that erases.
      '@typescript-eslint/no-redeclare': 'off',
      '@stylistic/spaced-comment': ['error', 'always', { exceptions: ['-'] }]
    }
  },
  // Two levels of folders: `../../workers/` is what runs in threads to a plugin's own files, and the plugin to those in its rooms.
  { files: ['plugins/*/*.ts'], rules: restricted([siblings('../'), threads]) },
  { files: ['plugins/*/*/*.ts'], rules: restricted([siblings('../../'), threads]) },
  { files: ['plugins/{core,shared}/*.ts'], rules: restricted([ground('../'), threads]) },
  { files: ['plugins/{core,shared}/*/*.ts'], rules: restricted([ground('../../'), threads]) },
  { files: ['plugins/*.ts'], rules: restricted([threads]) },
  ...Object.values(adapters).map((file) => ({ files: [file], rules: restricted([siblings('../'.repeat(file.split('/').length - 2)), threads], dependencies(file)) })),
  {
    files: ['workers/**/*.ts'],
    rules: restricted([{ regex: '^(?!node:|\\./)', message: 'workers/ imports node: and itself only: a thread must not load fastify.' }])
  },
  {
    files: ['race/src/**/*.ts'],
    rules: restricted([{ regex: '/(plugins|workers)/|^fastify-concurrency(/|$)', message: 'The race detector knows of the suite what its channels and decorators show.' }])
  },
  // Its import() of the application's API is made for a traced job alone.
  { files: ['workers/trace.ts'], rules: restricted([], []) },
  // What the browser loads.
  { files: ['plugins/dashboard/page/**/*.js'], languageOptions: { globals: { getComputedStyle: 'readonly', ResizeObserver: 'readonly', EventSource: 'readonly', matchMedia: 'readonly' } } },
  {
    files: ['plugins/{core,loop,shared,tasks,workers}/**/*.ts', 'plugins/limiter/concurrency/*.ts', 'workers/*.ts', 'loader/*.js'],
    rules: {
      // A message stays in one piece, so that it is found by its words.
      '@stylistic/max-len': ['error', { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreUrls: true }]
    }
  }
)
