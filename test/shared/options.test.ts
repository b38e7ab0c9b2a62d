import t, { type Test } from 'tap'
import * as check from '../../plugins/shared/options.ts'

const refuses = (t: Test, run: () => unknown, message: string): void => {
  t.throws(run, { code: 'FC_ERR_OPTION_INVALID', message })
}

t.test('an invalid option is named, with what was expected and what came', async (t) => {
  refuses(t, () => check.integer('workers.maxQueue', -3, { min: 1 }), 'Option "workers.maxQueue": expected a whole number of at least 1, received -3')
  refuses(t, () => check.integer('n', 1.5, { min: 1, max: 4 }), 'Option "n": expected a whole number from 1 to 4, received 1.5')
  refuses(t, () => check.number('n', NaN), 'Option "n": expected a number, received NaN')
  refuses(t, () => check.duration('timeout', '5s'), 'Option "timeout": expected milliseconds from 0 to 2147483647, or Infinity, received \'5s\'')
  refuses(t, () => check.duration('timeout', 2 ** 31), 'Option "timeout": expected milliseconds from 0 to 2147483647, or Infinity, received 2147483648')
  refuses(t, () => check.oneOf('p', 'urgent', ['high', 'low']), 'Option "p": expected one of \'high\', \'low\', received \'urgent\'')
  refuses(t, () => check.record('workers', { maxThread: 2 }, ['maxThreads']), 'Option "workers.maxThread": expected one of the options maxThreads, received 2')
  refuses(t, () => check.record('workers', null), 'Option "workers": expected an object, received null')
  refuses(t, () => check.fn('key', 'ip'), 'Option "key": expected a function, received \'ip\'')
})

t.test('a valid option is returned as it came', async (t) => {
  t.equal(check.integer('n', 3, { min: 1, max: 3 }), 3)
  t.equal(check.duration('timeout', Infinity), Infinity)
  t.equal(check.number('rate', 0.5, { min: 0 }), 0.5)
  t.same(check.record('o', { a: 1 }, ['a']), { a: 1 })
  refuses(t, () => check.record('o', { a: null }, ['a']), 'Option "o.a": expected a value, or the option left out for its default, received null')
  refuses(t, () => check.record('o', { get a () { throw new Error('no') } }, ['a']), 'Option "o": expected an object whose options can be read')
})

t.test('a value whose own inspection throws is refused like any other', async (t) => {
  const value = { [Symbol.for('nodejs.util.inspect.custom')] () { throw new Error('mine') } }
  t.throws(() => check.integer('maxThreads', value), { code: 'FC_ERR_OPTION_INVALID', message: /maxThreads.*a value of type object/ })
})

t.test('a signal that fails when it is read is refused at once', async (t) => {
  const { signal } = new AbortController()
  t.equal(check.abortSignal('signal', signal), signal)
  const trap = new Proxy({}, { getPrototypeOf () { throw new Error('mine') } })
  for (const value of [Object.create(AbortSignal.prototype), trap, null, {}]) {
    const message = /^Option "signal": expected an AbortSignal, received /
    t.throws(() => check.abortSignal('signal', value), { code: 'FC_ERR_OPTION_INVALID', message })
  }
})

t.test('options whose reading throws are refused, also if they are not among the keys', async (t) => {
  const options = new Proxy({}, { get () { throw new Error('mine') } })
  t.throws(() => check.record('o', options, ['a']), {
    code: 'FC_ERR_OPTION_INVALID',
    message: /^Option "o": expected an object whose options can be read, received Error: mine/
  })
})
