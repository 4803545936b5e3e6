// Who this is and what they may do; and the overview that the shell and *Today* share.
import { api, Failure, hooks, signAs } from './api';
import { live } from './live.svelte';
import { Resource } from './resource.svelte';
import type { LogIn, Session, Today } from './types';

/** Today is asked again at most so often, however much changes. */
const TODAY_MS = 5_000;

class Sessions {
  now = $state.raw<Session | undefined>(undefined);
  /** Set where a name is needed first: how it can be proved. */
  needs = $state.raw<LogIn | undefined>(undefined);
  failure = $state.raw<Failure | undefined>(undefined);
  readonly today = new Resource<Today>((signal) => api.today(signal), () => true, TODAY_MS);

  constructor() {
    hooks.unauthorized = (failure) => {
      const how = failure.body.log_in;
      this.needs = how === 'oidc' || how === 'both' ? how : 'token';
    };
  }

  async begin(): Promise<void> {
    this.failure = undefined;
    try {
      this.now = await api.session();
      this.needs = undefined;
      signAs(this.now.name);
      live.start();
      this.today.follow();
      void this.today.ask();
    } catch (error) {
      if (error instanceof Failure && error.status === 401) return;
      this.failure = Failure.of(error);
    }
  }

  get mayOperate(): boolean {
    return this.now?.may.operate ?? false;
  }
}

export const session = new Sessions();
